"""The claims and the families are data, and a mistake in them is one line."""

from pathlib import Path

import pytest
import yaml

from ssmax_eval.errors import UserError
from study.claims import FILE, read_claims
from study.families import is_aside, listed, read_families, rope_of
from study.measures import Explained, Found, Loss, NeedleWeight, TrainingLoss
from study.quantities import measure, tokens
from study.verdicts import Range

CLAIM = {
    "claim": "SSMax finds more",
    "reported": "more",
    "this": "ssmax",
    "than": "softmax",
    "quantity": "needles found at 10x",
    "rope": "base x 50",
    "asks": "above 0",
}
MARGINS = {"alike": 0.05, "flat": 0.2, "as_many": 0.1, "half": 0.5}


def written(folder: Path, **changes: object) -> Path:
    """A file of one claim with these fields; None leaves a field out."""
    claim = {name: value for name, value in {**CLAIM, **changes}.items() if value is not None}
    content = {"margins": MARGINS, "papers": [{"paper": "a paper", "claims": [claim]}]}
    path = folder / "claims.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("words", "rope", "expected"),
    [
        ("training loss on text", None, TrainingLoss()),
        ("R2 of the learned factors in log n", None, Explained(in_log=True)),
        ("R2 of the learned factors in n", None, Explained(in_log=False)),
        ("loss at positions 10000 until 20000", "plain", Loss("plain", 10_000, 19_999)),
        ("loss at positions 1/2x until 1x in documents of 1x", "plain", Loss("plain", 64, 127, 128)),
        ("loss at positions 1 until 16x in documents of 16x", "base x 50", Loss("base x 50", 1, 2047, 2048)),
        ("needles found at 10x", "base x 50", Found("base x 50", 1280)),
        ("weight of the best head at 300", "plain", NeedleWeight("plain", 300)),
    ],
)
def test_words_for_a_quantity(words: str, rope: str | None, expected: object) -> None:
    assert measure(words, rope, 128, "here") == expected


def test_lengths_are_tokens_or_multiples() -> None:
    assert [tokens(text, 512, "here") for text in ("128", "1x", "16x", "1/2x", "3/2x")] == [128, 512, 8192, 256, 768]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"asks": "above flat"}, Range(low=0.2)),
        ({"asks": "below -0.5"}, Range(high=-0.5)),
        ({"asks": "within as_many"}, Range(-0.1, 0.1)),
    ],
)
def test_what_a_claim_asks_for(changes: dict[str, str], message: Range, tmp_path: Path) -> None:
    (claim,) = read_claims(128, written(tmp_path, **changes)).claims
    assert claim.wanted == message


def test_a_detail_says_only_what_differs(tmp_path: Path) -> None:
    detail = {"claim": "nearer", "quantity": "needles found at 2x"}
    (claim,) = read_claims(128, written(tmp_path, details=[detail])).claims
    (closer,) = claim.details
    assert (closer.text, closer.measure) == ("nearer", Found("base x 50", 256))
    assert (closer.this, closer.than, closer.reported, closer.wanted) == ("ssmax", "softmax", "more", claim.wanted)
    assert closer.details == ()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"this": "ssmaxx"}, "unknown family in claims.yaml, 'SSMax finds more': 'ssmaxx'; did you mean 'ssmax'"),
        ({"than": "ssmax"}, "compares 'ssmax' with itself; give than_quantity"),
        ({"than": "ssmax", "than_quantity": "needles found at 10x"}, "with itself"),
        ({"quantity": "needles lost at 10x"}, "unknown quantity 'needles lost at 10x'; known: training loss on text"),
        ({"quantity": "needles found at ten"}, r"tokens \(20000\) or a multiple .* given 'ten'"),
        ({"quantity": "loss at positions 8 until 8"}, "positions go from 1 or more to a later one"),
        ({"quantity": "loss at positions 0 until 8"}, "positions go from 1 or more"),
        ({"quantity": "training loss on text"}, "has no rope; given 'base x 50'"),
        ({"rope": None}, "needs a rope, one of 'plain', 'base x 50'; given None"),
        ({"rope": "yarn"}, "given 'yarn'"),
        ({"line": "0.5", "quantity": "training loss on text", "rope": None}, "a line needs a share"),
        ({"line": "hlf"}, "unknown limit .*did you mean 'half'"),
        ({"asks": "more"}, "asks takes 'below LIMIT'.*given 'more'"),
        ({"asks": "below alikee"}, "unknown limit .*did you mean 'alike'"),
        ({"asks": None}, "lacks 'asks'"),
        ({"asked": "above 0"}, "unknown field in claims.yaml, 'SSMax finds more': 'asked'; did you mean 'asks'"),
        ({"reported": 0.008}, "'reported' in claims.yaml, 'SSMax finds more' must be a text; got 0.008"),
        ({"details": "closer"}, "must hold a list 'details' of mappings"),
        ({"details": [{"rope": "yarn"}]}, "given 'yarn'"),
    ],
)
def test_a_mistake_in_a_claim_is_one_line(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as raised:
        read_claims(128, written(tmp_path, **changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "list 'papers' of mappings"),
        ("papers: []", "mapping 'margins'"),
        ("papers: []\nmargins: {alike: 0.05}", "lacks 'flat'"),
        ("papers: []\nmargins: {alike: much}", "'alike' in claims.yaml, margins must be a number; got 'much'"),
        (f"papers: [{{claims: []}}]\nmargins: {MARGINS}", "needs its name under 'paper'"),
        (f"papers: [{{paper: p}}]\nmargins: {MARGINS}", "'p' in claims.yaml must hold a list"),
        ("papers: [", "not readable as YAML"),
    ],
)
def test_a_mistake_in_the_file_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "claims.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as raised:
        read_claims(128, path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("families: []", "list 'studies'"),
        ("families: [{name: a}]\nstudies: []", "lacks 'label'"),
        ("families: [{name: a, label: A, min: true}]\nstudies: []", "unknown field.*did you mean 'main'"),
        ("families: []\nstudies: [{ending: -512, label: long}]", "'ending'.*studies must be a text; got -512"),
    ],
)
def test_a_mistake_in_the_families_is_one_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "families.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        read_families(path)


def test_the_files_of_the_study() -> None:
    claims = read_claims(128)
    assert len(claims.claims) == 23
    assert [paper.partition("(")[2] for paper in claims.papers] == ["arXiv 2501.19399)", "arXiv 2501.13428)"]
    assert len({claim.text for claim in claims.claims}) == 23
    assert listed().main == ("softmax", "ssmax", "lssar")
    assert [family for family in listed().names if not is_aside(family)] == [
        name for name in listed().families if name != "per-n"
    ]
    assert FILE.is_file()


def test_what_the_store_calls_a_rope() -> None:
    assert [rope_of(stored) for stored in ("", "base x50", "base x 50", "plain", "yarn x4")] == [
        "plain", "base x 50", "base x 50", "plain", "yarn x4",
    ]  # fmt: skip
