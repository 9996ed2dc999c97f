"""A model whose layers accelerate brings from the disk and from the processor's memory when they are needed."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.devices import input_device, is_spread
from ssmax_eval.model import Request
from ssmax_eval.model.model import Model, Question

IDS = torch.randint(3, 600, (1, 60), generator=torch.Generator().manual_seed(5))
PLACES = {"model.embed_tokens": "disk", "model.layers.0": "cpu", "model.layers.1": "disk", "model.norm": "disk",
          "model.rotary_emb": "cpu", "lm_head": "disk"}  # fmt: skip


@pytest.mark.parametrize("spec", ["lssar:p=3"])
def test_layers_on_the_disk_change_no_number(tiny_folder: Path, tmp_path: Path, spec: str) -> None:
    source = Checkpoint(str(tiny_folder), dtype="float32")
    spread = AutoModelForCausalLM.from_pretrained(
        tiny_folder, device_map=PLACES, offload_folder=tmp_path / "disk", dtype=torch.float32
    )
    assert spread.get_input_embeddings().weight.device.type == "meta"
    assert input_device(spread) == torch.device("cpu")
    found = []
    for hf in (source.load(), spread.eval()):
        with ssmax_eval.rewritten(hf, spec, shape=source.shape) as rewriting:
            model = Model(hf, source.tokenizer, rewriting, source.shape)
            assert model.resumable
            model.prefill_chunk = 16
            fork = torch.cat((IDS[:, :40], IDS[:, :20]), 1)
            answers = list(model.answers([Question(ids, 3, [5, 57], lambda a: a) for ids in (IDS, fork)]))
            found.append(
                (
                    model.token_losses(IDS),
                    model.key_mass(IDS[0], 3, 9),
                    torch.stack([torch.stack(answer.looked_at) for answer in answers]),
                    [one.text for one in model.complete([Request(IDS[0].tolist(), 4), Request(fork[0].tolist(), 4)])],
                )
            )
    here, there = found
    assert here[3] == there[3]
    for one, other in zip(here[:3], there[:3], strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


def test_device_map_auto_is_one_device_where_there_is_one(tiny_folder: Path) -> None:
    alone = ssmax_eval.load(str(tiny_folder), "ssmax:s=0.4", dtype="float32")
    mapped = ssmax_eval.load(str(tiny_folder), "ssmax:s=0.4", dtype="float32", device_map="auto")
    assert not is_spread(mapped.hf)
    assert torch.equal(alone.token_losses(IDS), mapped.token_losses(IDS))
