"""What becomes of a request as tokens come in: where an answer and a thought end, and what is left of them."""

import time
from collections.abc import Collection, Sequence
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.model import Completion, Request
from ssmax_eval.model.completing import Writing
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()


def spelled(text: str, request: Request, *, ends: Collection[int] = (2,), rest: Sequence[int] = ()) -> Writing:
    """What becomes of a request where the model writes a text in single characters, and then other tokens."""
    writing = Writing(request, TOKENIZER, ends)
    for token in [*(TOKENIZER.convert_tokens_to_ids(char) for char in text.replace(" ", "Ġ")), *rest]:
        if not writing.ended:
            writing.take(token)
    return writing


def test_an_answer_is_cut_before_the_first_string_that_stops_it() -> None:
    asked = Request([5], 20, ("nd\n", "end"))
    assert spelled("the end", asked).completion() == Completion("the ", 7, "stop")
    assert spelled("the en", asked, rest=[2]).completion() == Completion("the en", 6, "end")
    assert spelled("a" * 30, asked).completion() == Completion("a" * 20, 20, "budget")
    assert spelled("", asked, rest=[2]).completion() == Completion("", 0, "end")
    assert spelled("ab", Request([5], 2, ("ab",))).completion() == Completion("", 2, "stop")


def test_special_tokens_are_not_part_of_an_answer_and_may_stop_it() -> None:
    """1 is <|user|> and 3 is <|assistant|>."""
    assert spelled("ab", Request([5], 9), rest=[3, 2]).completion() == Completion("ab", 3, "end")
    assert spelled("ab", Request([5], 9, ("<|user|>",)), rest=[3, 1]).completion() == Completion("ab", 4, "stop")
    assert spelled("ab", Request([5], 9, ("b<|user|>",)), rest=[1]).completion() == Completion("a", 3, "stop")


def test_a_part_of_the_spelling_of_a_special_token_stops_nothing() -> None:
    """The s of <|user|> is not an s that the model wrote."""
    assert spelled("ab", Request([5], 9, ("s", "]")), rest=[1, 2]).completion() == Completion("ab", 3, "end")
    assert spelled("as", Request([5], 9, ("s",)), rest=[1, 2]).completion() == Completion("a", 2, "stop")


def test_what_follows_the_end_of_a_thought_in_the_same_token_belongs_to_the_answer() -> None:
    asked = Request([5], 4, thinking=9, thinking_end="n")
    (token,) = (i for i in range(600) if TOKENIZER.decode([i]) == "ing")
    found = spelled("so", asked, rest=[token, TOKENIZER.convert_tokens_to_ids("a"), 2]).completion()
    assert found == Completion("ga", 1, "end", "soi", 3, thought_cut=False)


def test_a_long_text_is_searched_at_its_end_only() -> None:
    asked = Request([5], 10_000, ("stop",))
    before = time.process_time()
    found = spelled("abcdefgh" * 1000 + "stop", asked).completion()
    assert (found.ended, found.tokens) == ("stop", 8004)
    assert time.process_time() - before < 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ids": []}, "at least one token"),
        ({"max_new_tokens": 0}, "given 0 and 0"),
        ({"thinking": -1}, "given 4 and -1"),
        ({"stop": ("",)}, "must not be empty"),
        ({"thinking": 2, "thinking_end": ""}, "must not be empty"),
    ],
)
def test_a_request_that_cannot_be_is_refused(values: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"ids": [5], "max_new_tokens": 4} | values
    with pytest.raises(UserError, match=message):
        Request(**given)
