"""How an answer is scored against what was expected: a share from 0 to 1, by a name.

`contains_all` and `contains_any` are RULER's `string_match_all` and `string_match_part` (arXiv 2404.06654) as shares;
`f1` and `exact` normalise texts as SQuAD does (arXiv 1606.05250); `sequence_ratio` is what MRCR uses.
"""

import difflib
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from types import FunctionType

from ssmax_eval.errors import UserError, shown, unknown
from ssmax_eval.user_code import digest, load_function

Scorer = Callable[[str, Sequence[str]], float]
"""Takes an answer and what was expected, and returns a share from 0 to 1."""

CONTROL = re.compile(r"[\x00-\x1f]")
ARTICLES = re.compile(r"\b(a|an|the)\b")
CHOICE = re.compile(r"\b([A-Z])\b")
"""A letter that stands by itself: the answer to a multiple choice."""
REFUSALS = re.compile(
    r"^\W*(?:i(?:'m| am)? (?:sorry|unable|afraid)|i (?:cannot|can't|can not|don't|do not|am not able)|"
    r"(?:sorry|apologies|unfortunately)\b|as an ai)",
    re.IGNORECASE,
)
"""How answers begin that answer nothing."""


def contains_all(answer: str, expected: Sequence[str]) -> float:
    """Return the share of the expected texts that the answer contains; upper and lower case are the same."""
    said = plain(answer).lower()
    return sum(one.lower() in said for one in expected) / len(expected)


def contains_any(answer: str, expected: Sequence[str]) -> float:
    """Return 1 where the answer contains one of the expected texts, else 0; upper and lower case are the same."""
    said = plain(answer).lower()
    return max(float(one.lower() in said) for one in expected)


def exact(answer: str, expected: Sequence[str]) -> float:
    """Return 1 where the answer is one of the expected texts, but for case, articles and punctuation."""
    return float(any(normalised(answer) == normalised(one) for one in expected))


def f1(answer: str, expected: Sequence[str]) -> float:
    """Return the best harmonic mean of precision and recall of words over the expected texts."""
    return max(_f1(normalised(answer).split(), normalised(one).split()) for one in expected)


def sequence_ratio(answer: str, expected: Sequence[str]) -> float:
    """Return the best similarity of the character sequences, 2 M / T of Python's `difflib`."""
    return max(difflib.SequenceMatcher(None, answer, one).ratio() for one in expected)


def choice(answer: str, expected: Sequence[str]) -> float:
    """Return 1 where the first capital letter that stands by itself is one of the expected ones, else 0."""
    found = CHOICE.search(answer)
    return float(found is not None and found[1] in {one.strip("() .") for one in expected})


SCORERS: dict[str, Scorer] = {
    "contains_all": contains_all,
    "contains_any": contains_any,
    "exact": exact,
    "f1": f1,
    "sequence_ratio": sequence_ratio,
    "choice": choice,
}


def scorer(name: str) -> Scorer:
    """Return the scorer of a name, or a function of the user's own at `my_score.py:function`.

    UserError for a name that there is not, and for a function that cannot be loaded.
    """
    if is_own(name):
        return _own(name)[0]
    if name not in SCORERS:
        raise unknown("scoring", name, SCORERS)
    return SCORERS[name]


def is_own(name: str) -> bool:
    """Return whether this is the place of a function of the user's own."""
    return ":" in name


def identified(name: str) -> str:
    """Return what tells this scoring from others: its name; of a function of the user's own also its code."""
    return f"{name.rpartition(':')[2]} {digest(_own(name)[1])}" if is_own(name) else name


@lru_cache
def _own(place: str) -> tuple[Scorer, FunctionType]:
    """A scorer that calls a function of the user's own, and the function."""
    function = load_function(place, "scoring")

    def score(answer: str, expected: Sequence[str]) -> float:
        try:
            found = function(answer, list(expected))
        except Exception as error:  # whatever the user's code raises
            raise UserError(f"scoring {place} fails: {type(error).__name__}: {error}") from None
        if not isinstance(found, int | float) or not 0 <= found <= 1:
            raise UserError(f"scoring {place} must return a number from 0 to 1; got {shown(found)}")
        return float(found)

    return score, function


def plain(answer: str) -> str:
    """Return an answer without control characters, as RULER does before it compares."""
    return CONTROL.sub("\n", answer.strip()).strip()


def normalised(text: str) -> str:
    """Return a text in small letters, without articles, punctuation and double spaces."""
    small = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", small).split())


def refused(answer: str) -> bool:
    """Return whether an answer begins as a refusal does."""
    return bool(REFUSALS.match(answer.strip()))


def _f1(answer: Sequence[str], expected: Sequence[str]) -> float:
    common = sum((Counter(answer) & Counter(expected)).values())
    return 2 * common / (len(answer) + len(expected)) if common else float(not answer and not expected)
