"""Haystacks: exact lengths, the text as it says, the same prompt whatever else is measured."""

import pytest
from tokenizers import Regex, normalizers

from ssmax_eval import tasks
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.dense import NiahDense
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.niah import Niah
from ssmax_eval.tasks.prompts import Haystack
from tests.conftest import make_tokenizer

TOKENIZER = make_tokenizer()
LENGTHS, DEPTHS = (300, 301, 512, 777, 2048), (0.0, 0.3, 0.5, 0.9, 1.0)


@pytest.fixture(scope="module", params=[True, False], ids=["chat", "plain"])
def haystack(request: pytest.FixtureRequest) -> Haystack:
    return Niah(lengths=(512,), chat_template=request.param).haystack(TOKENIZER)[0]


@pytest.mark.parametrize("length", LENGTHS)
def test_lengths_are_exact_and_places_are_right(haystack: Haystack, length: int) -> None:
    for depth in DEPTHS:
        for trial in range(3):
            prompt = haystack.prompt(Cell(length, depth=depth, trial=trial))
            assert len(prompt.ids) == length
            assert TOKENIZER.decode(prompt.ids[prompt.key[0] : prompt.key[1]]) == prompt.number
            assert TOKENIZER.decode(prompt.ids[prompt.answer_start :]) == f" {prompt.number}"
            assert TOKENIZER.decode(prompt.ids[prompt.digit_start :]) == prompt.number
            assert prompt.depth == pytest.approx(depth, abs=0.12 if length > 512 else 0.35)
            assert (prompt.depth == depth) or 0 < depth < 1


def test_the_text_is_what_it_says(haystack: Haystack) -> None:
    """Encoding the decoded prompt gives the prompt: no piece was merged across a seam, no special token put inside."""
    prompt = haystack.prompt(Cell(600, depth=0.5, trial=0))
    text = TOKENIZER.decode(prompt.ids)
    assert TOKENIZER(text, add_special_tokens=False)["input_ids"] == prompt.ids
    assert text.count(prompt.number) == 2
    assert f"The special magic number for {prompt.city} is {prompt.number}." in text
    assert (text.startswith("<|user|>") and "<|end|><|assistant|>" in text) == haystack.chat
    assert prompt.ids.count(TOKENIZER.bos_token_id) == 0


def test_special_tokens_are_counted_once() -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = make_tokenizer(chat=False)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A <|end|>", special_tokens=[("<|bos|>", 0), ("<|end|>", 2)]
    )
    prompt = Niah(lengths=(300,)).haystack(tokenizer)[0].prompt(Cell(300, depth=0.5, trial=0))
    assert len(prompt.ids) == 300
    assert prompt.ids[0] == 0
    assert prompt.ids.count(0) == 1
    assert 2 not in prompt.ids
    assert tokenizer.decode(prompt.ids[prompt.answer_start :]) == f" {prompt.number}"


def test_trials_differ_and_depths_share_their_haystack(haystack: Haystack) -> None:
    a, b = (haystack.prompt(Cell(800, depth=0.5, trial=t)) for t in (0, 1))
    assert a.ids != b.ids
    shallow, deep = (haystack.prompt(Cell(800, depth=d, trial=0)) for d in (0.25, 0.75))
    assert shallow.number != deep.number
    before = shallow.key[0] - 20
    assert shallow.ids[:before] == deep.ids[:before]


def test_a_prompt_depends_on_its_cell_alone() -> None:
    cell = Cell(512, depth=0.3, trial=4)
    whole = Niah(lengths=(256, 512), depths=(0.0, 0.3), trials=9).haystack(TOKENIZER)[0]
    for trial in range(4):
        whole.prompt(Cell(512, depth=0.0, trial=trial))
    alone = Niah(lengths=(512,), depths=(0.3,), trials=5).haystack(TOKENIZER)[0]
    assert whole.prompt(cell) == alone.prompt(cell)
    other = Niah(lengths=(512,), seed=1).haystack(TOKENIZER)[0]
    assert other.prompt(cell) != alone.prompt(cell)


@pytest.mark.parametrize(
    ("length", "message"), [(40, "too short: the question alone takes"), (10**7, "give a longer --text")]
)
def test_impossible_lengths_are_refused(haystack: Haystack, length: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        haystack.prompt(Cell(length, depth=0.5, trial=0))


def test_a_seam_that_merges_is_refused() -> None:
    task = tasks.overridden(tasks.load("niah"), {"answer_prefix": "The number is 7"})
    haystack, _ = task.haystack(TOKENIZER)  # type: ignore[attr-defined]
    prompt = haystack.prompt(Cell(300, depth=0.5, trial=0))
    assert TOKENIZER.decode(prompt.ids[prompt.answer_start :]) == f" {prompt.number}"
    haystack.wording = type(haystack.wording)("", "{number}", "", "The number is ")
    with pytest.raises(UserError, match="merges the answer"):
        haystack.prompt(Cell(300, depth=0.5, trial=0))


def test_a_number_that_the_filler_holds_is_never_the_needle() -> None:
    with pytest.raises(UserError, match="nearly every number of 1 digits"):
        Niah(lengths=(300,), digits=1).haystack(TOKENIZER)[0].prompt(Cell(300, depth=0.5, trial=0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"needle": "The number for {city} is {{number}}."}, "needle must contain {number}"),
        ({"needle": "The number for {city} is 9{number}."}, "with no digit beside it"),
        ({"needle": "The number for {city} is {number:0>12}."}, "needle takes {number} without a format"),
        ({"needle": "{number:999999999999}"}, "needle takes {number} without a format"),
        ({"question": "{city!r}"}, "question takes {city} without a format"),
        ({"needle": "{number} {town}"}, "unknown field {town} in needle; it takes {city} or {number}"),
        ({"needle": "{number} {city.__class__}"}, "unknown field {city.__class__} in needle"),
        ({"needle": "{number} {}"}, "unknown field {} in needle"),
        ({"needle": "{number} {city:{width}}"}, "needle takes {city} without a format"),
        ({"needle": "{number"}, "needle is not readable .*a brace is written twice"),
        ({"needle": "{number:d}"}, "needle takes {number} without a format"),
        ({"question": "Which {number}?"}, "unknown field {number} in question; it takes {city}:"),
        ({"intro": "Set {x} apart."}, "unknown field {x} in intro"),
        ({"answer_prefix": "It is \ud800"}, "answer_prefix holds half of a character"),
    ],
)
@pytest.mark.parametrize("kind", [Niah, NiahDense, KeyAttention])
def test_a_wording_that_cannot_be_filled_in_is_refused(kind: type, change: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message.replace("{", "[{]")):
        kind(lengths=(300,), **change)


def test_braces_and_repeated_numbers_are_fine() -> None:
    wording = {"needle": "The {{key}} is {number}. Remember: {number} is the {{key}}.", "question": "", "intro": ""}
    haystack, _ = Niah(lengths=(300,), **wording).haystack(TOKENIZER)  # type: ignore[arg-type]
    prompt = haystack.prompt(Cell(300, depth=0.5, trial=0))
    assert f"The {{key}} is {prompt.number}. Remember: {prompt.number} is the {{key}}." in prompt.text


@pytest.mark.parametrize("pattern", ["[0-9]", "[5-9]"])
def test_a_tokenizer_that_drops_digits_is_refused(pattern: str) -> None:
    tokenizer = make_tokenizer()
    tokenizer.backend_tokenizer.normalizer = normalizers.Replace(Regex(pattern), "")
    with pytest.raises(UserError, match="this tokenizer loses digits: '1234567890' comes back as"):
        Niah(lengths=(300,)).haystack(tokenizer)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize(
    ("intro", "question", "head", "tail"),
    [
        ("Read this.", "Which number?", "Read this.\n\n", "\n\nWhich number?"),
        ("", "Which number?", "", "\n\nWhich number?"),
        ("Read this.", "", "Read this.\n\n", ""),
        ("", "", "", ""),
    ],
)
def test_what_is_empty_leaves_no_blank_lines(chat: bool, intro: str, question: str, head: str, tail: str) -> None:
    task = Niah(lengths=(300,), intro=intro, question=question, answer_prefix="It is", chat_template=chat)
    haystack, _ = task.haystack(TOKENIZER)
    prompt = haystack.prompt(Cell(300, depth=0.0, trial=0))
    opening, closing = ("<|user|>", "<|end|><|assistant|>") if chat else ("", "\n")
    assert prompt.text.startswith(f"{opening}{head}The special magic number for {prompt.city}")
    assert prompt.text.endswith(f"{tail}{closing}It is {prompt.number}")
    assert not prompt.text[: prompt.answer_at - len(f"{tail}{closing}It is")].endswith("\n")
    assert len(prompt.ids) == 300
