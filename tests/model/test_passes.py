"""A pass that is read in pieces, cut and read on from, against one pass over everything, in float64."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
)

import ssmax_eval
from ssmax_eval.attention import Call
from ssmax_eval.model.model import Model, Question
from ssmax_eval.model.passes import Pass, pieces
from tests.conftest import HEADS, SMALL, tiny_config

IDS = torch.randint(3, 600, (2, 90), generator=torch.Generator().manual_seed(5))
OTHER = torch.randint(3, 600, (2, 90), generator=torch.Generator().manual_seed(6))
ROWS = [2, 11, 40, 41, 89]
GROUPED = {**HEADS, "head_dim": 8}


@pytest.fixture(params=["softmax", "ssmax:s=0.4", "lssar:p=3", "softmax_reweighted"])
def model(request: pytest.FixtureRequest, tiny_hf: LlamaForCausalLM) -> Iterator[Model]:
    with ssmax_eval.rewritten(tiny_hf, request.param) as rewriting:
        yield Model(tiny_hf, None, rewriting)


def hidden(model: Model, ids: Tensor) -> Tensor:
    with torch.inference_mode():
        output: Tensor = model.hf.base_model(input_ids=ids, use_cache=False)[0]
    return output


def same(one: Tensor, other: Tensor) -> None:
    torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_a_pass_in_pieces_is_one_pass(model: Model) -> None:
    assert model.resumable
    reading = Pass(model.hf, model.rewriting, room=64)
    with torch.inference_mode():
        parts = [reading.read(IDS[:, start:stop])[0][0] for start, stop in [(0, 30), (30, 31), (31, 90)]]
    same(torch.cat(parts, 1), hidden(model, IDS))


def test_a_pass_goes_on_from_where_it_was_cut(model: Model) -> None:
    reading = Pass(model.hf, model.rewriting, room=64)
    with torch.inference_mode():
        reading.read(IDS, ROWS, lambda a: a)
        for cut in (70, 69, 12, 1):
            fork = torch.cat((IDS[:, :cut], OTHER[:, cut:]), 1)
            assert reading.shared(fork, ROWS) == cut
            reading.cut(cut)
            output, looked_at = reading.read(fork[:, cut:], ROWS, lambda a: a)
            same(output[0], hidden(model, fork)[:, cut:])
            for mine, whole in zip(looked_at, model.attention_rows(fork, ROWS, lambda a: a), strict=True):
                same(mine, whole)
            reading.cut(cut)
            reading.read(IDS[:, cut:], ROWS)


def test_rows_that_nobody_kept_are_read_again(model: Model) -> None:
    reading = Pass(model.hf, model.rewriting, room=64)
    with torch.inference_mode():
        reading.read(IDS, [40])
    assert reading.shared(IDS, [40]) == 90
    assert reading.shared(IDS, [11, 40]) == 11
    assert reading.shared(IDS[:1]) == 0


def test_prefill_in_chunks_changes_no_number(model: Model) -> None:
    losses, answer = model.token_losses(IDS), model.answer(IDS, 5, ROWS, lambda a: a)
    mass = model.key_mass(IDS[0], 3, 7)
    assert losses.dtype == torch.float64
    for chunk in (1, 13, 64, 89):
        model.prefill_chunk = chunk
        same(model.token_losses(IDS), losses)
        same(model.key_mass(IDS[0], 3, 7), mass)
        chunked = model.answer(IDS, 5, ROWS, lambda a: a)
        same(chunked[0], answer[0])
        assert torch.equal(chunked[1], answer[1])
        for one, other in zip(chunked[2], answer[2], strict=True):
            same(one, other)


def test_questions_that_begin_alike_share_their_beginning(model: Model) -> None:
    forks = [torch.cat((IDS[:, :n], OTHER[:, n:]), 1) for n in (10, 50, 86, 90, 90)]
    questions = [Question(fork, 5, ROWS, lambda a: a) for fork in forks]
    assert model.resumable
    ran = Counted(model)
    for question, (logprobs, chosen, weights) in zip(questions, list(model.answers(questions)), strict=True):
        cold = model.answer(question.ids, 5, ROWS, lambda a: a)
        same(logprobs, cold[0])
        assert torch.equal(chosen, cold[1])
        for one, other in zip(weights, cold[2], strict=True):
            same(one, other)
    assert ran.rows[:10] == [90] * 2 + [80] * 2 + [40] * 2 + [6] * 4  # an answer's rows are always run
    assert set(ran.rows[10:]) == {90}


class Counted:
    """Rows of every attention call from now on."""

    def __init__(self, model: Model) -> None:
        self.rows: list[int] = []
        forward = model.attention.forward

        def counting(call: Call) -> Tensor:
            assert call.visible.mask is None
            self.rows.append(call.visible.rows)
            return forward(call)

        object.__setattr__(model.attention, "forward", counting)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (
            lambda: MistralForCausalLM(MistralConfig(**SMALL, **GROUPED, sliding_window=8)),
            "a window drops keys",
        ),
        (lambda: Gemma3ForCausalLM(Gemma3TextConfig(**SMALL, **GROUPED, sliding_window=8)), "some layers do"),
        (
            lambda: LlamaForCausalLM(
                tiny_config(rope_parameters={"rope_type": "dynamic", "factor": 4.0, "rope_theta": 1e4})
            ),
            "angles depend on the whole length",
        ),
    ],
)
def test_what_cannot_be_read_on_from_runs_whole(make, why: str, caplog: pytest.LogCaptureFixture) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    hf = make().double().eval()
    with ssmax_eval.rewritten(hf, "ssmax:s=0.4") as rewriting:
        model = Model(hf, None, rewriting)
        assert not model.resumable, why
        fork = torch.cat((IDS[:, :60], OTHER[:, 60:]), 1)
        answers = list(model.answers([Question(IDS, 3), Question(fork, 3)]))
        losses = model.token_losses(IDS)
        model.prefill_chunk = 20
        assert torch.equal(model.token_losses(IDS), losses)
        assert "cannot be read in pieces" in caplog.text
        for (logprobs, _, _), ids in zip(answers, (IDS, fork), strict=True):
            assert torch.equal(logprobs, model.answer(ids, 3)[0])


def test_learned_positions_go_on_after_a_cut() -> None:
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=600, n_positions=96, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0)
    hf = GPT2LMHeadModel(config).double().eval()
    with ssmax_eval.rewritten(hf, "ssmax:s=0.4") as rewriting:
        model = Model(hf, None, rewriting)
        assert model.resumable
        losses = model.token_losses(IDS)
        model.prefill_chunk = 25
        same(model.token_losses(IDS), losses)


def test_a_static_cache_is_still_filled_as_it_was(tiny_hf: LlamaForCausalLM) -> None:
    """No mask means another thing there: keys after the rows are empty places."""
    with ssmax_eval.rewritten(tiny_hf, "ssmax:s=0.4") as rewriting:
        model = Model(tiny_hf, None, rewriting)
        assert model.resumable
        for kind in ("dynamic", "static"):
            written = tiny_hf.generate(
                IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=6, do_sample=False,
                cache_implementation=kind, pad_token_id=0, eos_token_id=None,
            )  # fmt: skip
            assert torch.equal(written[:, 90], tiny_hf(IDS).logits[:, -1].argmax(-1))


def test_pieces_leave_the_last_one_long_enough() -> None:
    assert list(pieces(0, 10, None)) == [(0, 10)]
    assert list(pieces(2, 10, 3)) == [(2, 5), (5, 8), (8, 10)]
    assert list(pieces(0, 10, 4, last=3)) == [(0, 4), (4, 7), (7, 10)]
    assert list(pieces(0, 10, 2, last=5)) == [(0, 2), (2, 4), (4, 5), (5, 10)]
    assert list(pieces(8, 10, 1, last=5)) == [(8, 10)]
