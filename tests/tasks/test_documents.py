"""What a document says: its digest tells texts apart, and its bytes are those of the predicted text."""

from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing

from ssmax_eval.corpus import text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.tasks.loss import Loss
from ssmax_eval.tasks.niah import NeedleTask
from tests.conftest import make_tokenizer

PLAIN = make_tokenizer(chat=False)
TEXT = " ".join(f"Straße {i}: naïve, 漢字 and words." for i in range(400))


def beginning() -> Any:
    """A tokenizer that puts a special token before a text, and one after it."""
    tokenizer = make_tokenizer(chat=False)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|bos|> $A <|end|>", special_tokens=[("<|bos|>", 0), ("<|end|>", 2)]
    )
    return tokenizer


@pytest.fixture
def text(tmp_path: Path) -> str:
    (tmp_path / "text.txt").write_text(TEXT, encoding="utf-8")
    return str(tmp_path / "text.txt")


def whole(tokenizer: Any, ids: list[int]) -> str:
    return str(tokenizer.decode(ids, skip_special_tokens=True))


@pytest.mark.parametrize("make", [lambda: PLAIN, beginning], ids=["plain", "with a special token"])
@pytest.mark.parametrize("built_in", [True, False])
def test_a_document_is_the_text_of_its_tokens(text: str, make: Any, built_in: bool) -> None:
    tokenizer = make()
    task = Loss(lengths=(300,), documents=3, texts=() if built_in else (text,))
    for document in task.cut(tokenizer, 300):
        assert len(document.ids) == 300
        decoded, predicted = whole(tokenizer, document.ids), whole(tokenizer, document.ids[1:])
        if "\ufffd" not in decoded + predicted:  # no character is cut through
            assert (document.text, document.predicted) == (decoded, predicted)
            assert (decoded == predicted) == (make is beginning)
        assert (document.ids[0] == tokenizer.bos_token_id) == (make is beginning)
        assert tokenizer.eos_token_id not in document.ids
        assert document.values()["document_digest"] == text_digest(document.text)
        assert abs(document.values()["bytes"] - len(predicted.encode())) <= 9


def test_tokens_that_begin_a_window_are_in_the_identity(text: str) -> None:
    class Source:
        def __init__(self, tokenizer: Any) -> None:
            self.tokenizer = tokenizer

    task = Loss(lengths=(50,), texts=(text,))
    for tokenizer, found in ((PLAIN, {}), (None, {}), (beginning(), {"begin": [0]})):
        source: Any = Source(tokenizer)
        assert task.of_checkpoint(source) == found
        assert Loss(lengths=(50,)).of_checkpoint(source) == {}


def test_windows_meet_and_leave_nothing_out(text: str) -> None:
    documents = Loss(lengths=(201,), documents=5, texts=(text,)).cut(beginning(), 201)
    assert TEXT.startswith("".join(document.text for document in documents))


def test_the_windows_of_another_length_are_other_documents(text: str) -> None:
    task = Loss(lengths=(100, 200), documents=2, texts=(text,))
    first, second = ([d.values()["document_digest"] for d in task.cut(PLAIN, length)] for length in (100, 200))
    assert len({*first, *second}) == 4
    assert "document_digest" in task.quantities[0].units
    assert "document_digest" in task.quantities[0].same
    assert task.quantities[0].units[-1] == "document"
    assert all("prompt_digest" in quantity.same for quantity in NeedleTask.quantities)


def test_a_tokenizer_that_is_not_fast_decodes(text: str) -> None:
    class Slow:
        is_fast = False

        def __call__(self, *arguments: Any, return_offsets_mapping: bool = False, **options: Any) -> Any:
            assert not return_offsets_mapping
            return PLAIN(*arguments, **options)

        def decode(self, *arguments: Any, **options: Any) -> Any:
            return PLAIN.decode(*arguments, **options)

    task = Loss(lengths=(50,), documents=2, texts=(text,))
    for slow, fast in zip(task.cut(Slow(), 50), task.cut(PLAIN, 50), strict=True):
        assert slow.ids == fast.ids
        assert slow.text.strip("\ufffd")[:-1] in TEXT


def test_another_document_than_the_measured_one_is_not_shown(text: str) -> None:
    task = Loss(lengths=(50,), documents=1, texts=(text,))
    values = task.cut(PLAIN, 50)[0].values()
    rows = {"position": range(1, 50), "nll": [1.0] * 49}
    assert "nats per token" in task.show(Measurement(Cell(50, document=0), values, rows), PLAIN)
    assert "nats per token" in task.show(Measurement(Cell(50, document=0), {"source": "text"}, rows), PLAIN)
    with pytest.raises(UserError, match="is not the one that was measured"):
        task.show(Measurement(Cell(50, document=0), values | {"document_digest": "0" * 12}, rows), PLAIN)
