"""What the plugin does to a query, and what it refuses: no vLLM is needed for that."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ssmax_eval
from ssmax_eval.attention import ATTENTIONS, Attention, Call, parse
from ssmax_eval.attention.call import Visible
from ssmax_eval.attention.scaled import ScaledSoftmax, scales_query
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import KEY, SERVED
from ssmax_eval.errors import UserError
from ssmax_eval.vllm.reading import read, refuse_model, served_attention, written
from ssmax_eval.vllm.scaling import Scaling
from tests import tiny

HEADS, LAYER, TOKENS, WIDTH, WINDOW = 4, 1, 12, 8, 5
S = ((0.1, 0.2, 0.3, 0.4), (0.7, 0.5, 0.3, 0.9))
B = ((0.0, 0.1, 0.2, 0.3), (0.4, -0.3, 0.2, 0.1))
SPECS: dict[str, dict[str, Any]] = {"ssmax": {"s": S, "b": B}, "logn": {"n_train": 4}, "temperature": {"f": 4},
                                    "per_n": {"p": ((1.0, 2.0), (1.5, 0.5, 0.8))}, "softmax": {}}  # fmt: skip


def attention(name: str) -> Any:
    return replace(ATTENTIONS[name](), **SPECS[name])


@pytest.mark.parametrize("window", [None, WINDOW])
@pytest.mark.parametrize("name", SPECS)
def test_softmax_on_scaled_queries_is_the_attention_on_every_rank(name: str, window: int | None) -> None:
    one = attention(name)
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 1, HEADS, TOKENS, WIDTH, dtype=torch.float64)
    rows = torch.arange(TOKENS)
    mask = rows[:, None] >= rows
    if window is not None:
        mask &= rows[:, None] - rows < window
    visible = Visible(TOKENS, TOKENS, mask[None, None])
    expected = one.forward(Call(query, key, value, visible, WIDTH**-0.5, LAYER))
    plain = ATTENTIONS["softmax"]()
    for first in (0, 2):
        mine = slice(first, first + 2)
        scaling = Scaling(one, LAYER, HEADS, first, window)
        pieces = [scaling(query[:, mine, part], rows[None, part]) for part in (slice(0, 5), slice(5, TOKENS))]
        call = Call(torch.cat(pieces, 2), key[:, mine], value[:, mine], visible, WIDTH**-0.5, LAYER)
        torch.testing.assert_close(plain.forward(call), expected[:, mine])
    assert scaling.calls == 2


def test_a_layer_that_is_not_rewritten_keeps_its_queries() -> None:
    query = torch.randn(1, HEADS, 3, WIDTH)
    assert Scaling(None, 0, HEADS)(query, torch.arange(3)[None]) is query


def test_every_attention_is_served_or_refused_by_name() -> None:
    config = tiny.config("llama")
    for name in ATTENTIONS:
        one: Attention = ATTENTIONS[name]()
        if scales_query(one):
            refuse_model(config, one)
        else:
            with pytest.raises(UserError, match=f"only scale the query.*{name}"):
                refuse_model(config, one)
    assert not scales_query(parse("lssar:p=3"))
    with pytest.raises(UserError, match="Own is an attention of your own"):
        refuse_model(config, Own())


class Own(ScaledSoftmax):
    def factor(self, n: torch.Tensor, layer: int) -> torch.Tensor | None:
        return 2 * torch.ones_like(n)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("mixtral", "experts"), ("deepseek_v3", "experts"), ("gemma2", "caps its scores"), ("qwen3_next", "experts"),
     ("llama4_text", "experts")],
)  # fmt: skip
def test_models_that_need_more_than_a_scaled_query_are_refused(kind: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        refuse_model(tiny.config(kind), attention("ssmax"))


def test_an_attention_can_be_sent_to_another_process() -> None:
    for name in SPECS:
        assert read(written(attention(name))) == attention(name)


def test_a_converted_folder_says_how_it_is_served(tiny_folder: Path, tmp_path: Path) -> None:
    ssmax_eval.convert(str(tiny_folder), replace(parse("ssmax"), s=S, b=B, layers="1"), tmp_path / "out")  # type: ignore[call-arg]
    checkpoint = Checkpoint(str(tmp_path / "out"))
    assert checkpoint.config.architectures == [SERVED]
    found = served_attention(checkpoint.config, str(tmp_path / "out"))
    assert found == ssmax_eval.load(str(tmp_path / "out")).attention
    assert found.rewrites(checkpoint.shape) == frozenset({1})
    ssmax_eval.convert(str(tmp_path / "out"), "softmax", tmp_path / "back")
    assert Checkpoint(str(tmp_path / "back")).config.architectures == ["LlamaForCausalLM"]
    with pytest.raises(UserError, match="names no attention"):
        served_attention(tiny.config("llama"), str(tiny_folder))
    named = SimpleNamespace(**{KEY: {"attention": "lssar", "p": 3}})
    with pytest.raises(UserError, match="only scale the query"):
        refuse_model(tiny.config("llama"), read(vars(named)[KEY]))


def test_an_engine_that_is_not_there_is_one_line(tiny_folder: Path) -> None:
    with pytest.raises(UserError, match="unknown engine 'vlm'; did you mean 'vllm'"):
        _ = Checkpoint(str(tiny_folder), engine="vlm").engine_label
    with pytest.raises(UserError, match="must be 1 or more; got 0"):
        _ = Checkpoint(str(tiny_folder), tensor_parallel=0).engine_label
    assert Checkpoint(str(tiny_folder)).engine_label == ""
    assert "engine" not in Checkpoint(str(tiny_folder)).identity()
