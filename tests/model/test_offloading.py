"""Keys and values that are kept away from the device: the same numbers, and when that is chosen.

There is one device here, so "away" is another tensor on the processor; which copies are made is the same.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

import ssmax_eval
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import Request
from ssmax_eval.model.cache import LayerAway, cache_for
from ssmax_eval.model.model import Model, Question
from ssmax_eval.model.offloading import GIB, Keep, cache_bytes, goes_away, refuse_too_large, said
from tests.conftest import make_tokenizer

IDS = torch.randint(3, 600, (2, 90), generator=torch.Generator().manual_seed(5))
GPU = torch.device("cuda")


def numbers(model: Model) -> dict[str, Any]:
    """All that reads a text in pieces, reads on from a shared beginning, looks at attention or writes."""
    fork = torch.cat((IDS[:1, :70], IDS[1:, 70:]), 1)
    questions = [Question(ids, 4, [11, 85], lambda a: a) for ids in (IDS[:1], fork, IDS[1:])]
    answers = list(model.answers(questions))
    requests = [Request(ids.tolist(), 6) for ids in (IDS[0, :50], IDS[0, :30], IDS[1, :50])]
    return {
        "losses": model.token_losses(IDS),
        "answers": [answer.logprobs for answer in answers],
        "rows": [torch.stack(answer.looked_at) for answer in answers[:2]],
        "written": list(model.complete(requests)),
    }


@pytest.mark.parametrize("spec", ["ssmax:s=0.4", "lssar:p=3"])
def test_a_cache_that_is_kept_away_changes_no_number(
    tiny_hf: LlamaForCausalLM, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ssmax_eval.rewritten(tiny_hf, spec) as rewriting:
        model = Model(tiny_hf, make_tokenizer(), rewriting)
        model.prefill_chunk = 16
        here = numbers(model)
        updates = list[LayerAway]()
        update = LayerAway.update

        def watched(layer: LayerAway, *arguments: Any, **others: Any) -> tuple[Tensor, Tensor]:
            updates.append(layer)
            return update(layer, *arguments, **others)

        monkeypatch.setattr(LayerAway, "update", watched)
        model.offload_cache = "on"
        away = numbers(model)
    assert len(updates) > 2 * 4 * 6
    assert away.pop("written") == here.pop("written")
    torch.testing.assert_close(away, here, rtol=0, atol=0)


def test_what_was_brought_for_a_pass_that_failed_is_not_used(tiny_hf: LlamaForCausalLM) -> None:
    cache = cache_for(tiny_hf.config, 8, Keep(away=True))
    first, second = cache.layers
    draw = torch.Generator().manual_seed(0)

    def read(tokens: int, layers: Any) -> list[tuple[Tensor, Tensor]]:
        return [layer.update(*torch.randn(2, 1, 2, tokens, 8, generator=draw)) for layer in layers]

    read(4, (first, second))
    read(2, (first,))  # and it fails: the first 4 of the second layer are on the device already
    cache.layers[0].crop(-2)
    cache.crop(-1)
    read(1, (first, second))  # other tokens in place of the last of the 4
    _, (keys, values) = read(2, (first, second))
    assert torch.equal(keys, second.keys)
    assert torch.equal(values, second.values)
    assert keys.shape[2] == 6
    assert keys.data_ptr() != second.keys.data_ptr()


def test_a_cache_is_kept_away_where_the_device_is_short(tiny_folder: Path) -> None:
    config = Checkpoint(str(tiny_folder)).config
    need = cache_bytes(config, torch.bfloat16, 1 << 20)
    assert need == 2 * 2 * 2 * 8 * (1 << 20) * 2
    assert not goes_away("auto", need, 3 * need)
    assert goes_away("auto", need, need)
    assert goes_away("on", 1, need)
    assert not goes_away("off", need, 1)
    assert said("auto", need, GPU, 3 * need, 0) == said("on", need, torch.device("cpu"), 0, 0) == ""
    line = said("auto", 128 * GIB, GPU, 60 * GIB, 400 * GIB)
    assert "take 128.0 GiB, with 60.0 GiB free on cuda: they are kept in the processor's memory" in line
    assert "400" not in line
    assert "too little" in said("auto", 128 * GIB, GPU, 60 * GIB, 100 * GIB)
    refuse_too_large(100, 100)
    with pytest.raises(UserError, match=r"take 128\.0 GiB, and the processor has 100\.0 GiB free"):
        refuse_too_large(128 * GIB, 100 * GIB)
