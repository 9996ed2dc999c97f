"""Questions with the paragraphs that answer them, from the files of SQuAD and HotpotQA."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.files import expanded, read_whole

YES_NO = ("yes", "no")
"""Answers that cannot be looked for in a text: "no" is in "know"."""
HOME = "SQuAD: rajpurkar.github.io/SQuAD-explorer; HotpotQA: hotpotqa.github.io"


class Item(NamedTuple):
    """A question of a data set."""

    question: str
    answers: tuple[str, ...]
    """Each of them is right."""
    gold: tuple[int, ...]
    """The paragraphs that are needed, as numbers."""
    near: tuple[int, ...]
    """Paragraphs of the same article, or those that the data set gives with the question."""
    chosen: bool
    """Whether `near` was chosen by the data set for this question."""


class Questions(NamedTuple):
    """Everything that a file holds."""

    items: tuple[Item, ...]
    paragraphs: tuple[str, ...]
    """Each once."""
    digest: str
    """Tells this content from others."""


def read_questions(data: str) -> Questions:
    """Read SQuAD's JSON (1.1 or 2.0) or HotpotQA's (distractor setting).

    Left out are questions without an answer, and those that are answered by yes or no. UserError for another file.
    """
    content = read_whole(expanded(data), "data")
    try:
        found = json.loads(content)
        numbers: dict[str, int] = {}
        items = list(_squad(found["data"], numbers) if isinstance(found, dict) else _hotpot(found, numbers))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(
            f"data {data!r} must be SQuAD's JSON, or HotpotQA's of the distractor setting ({HOME}): "
            f"{type(error).__name__}: {error}"
        ) from None
    if not _encodable((*numbers, *(text for item in items for text in (item.question, *item.answers)))):
        raise UserError(f"data {data!r} holds half of a character, which is not valid text")
    if not items:
        raise UserError(f"data {data!r} holds no question with an answer")
    return Questions(tuple(items), tuple(numbers), hashlib.sha256(content).hexdigest()[:16])


def _squad(articles: Sequence[Any], numbers: dict[str, int]) -> Iterator[Item]:
    for article in articles:
        places = [_number(paragraph["context"], numbers) for paragraph in article["paragraphs"]]
        for place, paragraph in zip(places, article["paragraphs"], strict=True):
            near = tuple(dict.fromkeys(other for other in places if other != place))
            for asked in paragraph["qas"]:
                answers = tuple(dict.fromkeys(answer["text"] for answer in asked["answers"]))
                if not asked.get("is_impossible", False) and _sayable(answers):
                    yield Item(asked["question"].strip(), answers, (place,), near, chosen=False)


def _hotpot(entries: Sequence[Any], numbers: dict[str, int]) -> Iterator[Item]:
    for entry in entries:
        titles = {title for title, _ in entry["supporting_facts"]}
        places = {title: _number(f"{title}\n{''.join(sentences)}", numbers) for title, sentences in entry["context"]}
        gold = tuple(place for title, place in places.items() if title in titles)
        if gold and _sayable((entry["answer"],)):
            near = tuple(place for place in places.values() if place not in gold)
            yield Item(entry["question"].strip(), (entry["answer"],), gold, near, chosen=True)


def _encodable(texts: Sequence[str]) -> bool:
    try:
        return all(text.encode() is not None for text in texts)
    except UnicodeEncodeError:
        return False


def _number(paragraph: str, numbers: dict[str, int]) -> int:
    """The number of a paragraph: paragraphs are numbered as they are met."""
    return numbers.setdefault(paragraph.strip(), len(numbers))


def _sayable(answers: Sequence[str]) -> bool:
    return bool(answers) and all(answer.strip() and answer.strip().lower() not in YES_NO for answer in answers)
