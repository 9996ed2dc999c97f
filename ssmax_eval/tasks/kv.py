"""A JSON object whose keys and values are UUIDs: is the value of one key found?"""

import json
from dataclasses import dataclass
from typing import ClassVar

from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks.answering import AnswerTask, Ask, Prompt
from ssmax_eval.tasks.base import grid
from ssmax_eval.tasks.depths import cells_at_depths, check_depths
from ssmax_eval.tasks.frame import Frame
from ssmax_eval.tasks.haystacks import around, fitted
from ssmax_eval.tasks.needles import Fresh, at_depths, check_kept
from ssmax_eval.tasks.prompts import check_sentence, random_of

SAMPLE = 10
"""Pairs by which it is estimated how many tokens a pair has."""


@dataclass(frozen=True, kw_only=True)
class Kv(AnswerTask):
    """One value of a JSON object of UUIDs. The depth is the place of its pair: 0 the first, 1 the last.

    Depths of a trial share the other pairs; the pair that is asked for is drawn anew for each.
    """

    quantities: ClassVar[tuple[Quantity, ...]] = at_depths("JSON values found")

    depths: tuple[float, ...] = grid((0.0, 0.25, 0.5, 0.75, 1.0))
    """Wanted places of the pair that is asked for among all pairs: 0 the first, 1 the last."""
    intro: str = "Here is a JSON object. You will be asked for one of its values."
    """Before the object."""
    question: str = 'Which value has the key "{key}" in the JSON object above?'
    """After the object."""
    answer_prefix: str = 'The value of "{key}" is'
    """Beginning of the answer, given to a model that does not think."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_depths(self.depths, "first", "last")
        for name, known in {"intro": (), "question": ("key",), "answer_prefix": ("key",)}.items():
            check_sentence(name, getattr(self, name), known, known if name == "question" else ())

    def cells(self) -> list[Cell]:
        return cells_at_depths(self.lengths, self.trials, self.depths)

    def asking(self, frame: Frame) -> Ask:
        check_kept(frame.tokenizer, ("uuids",))

        def ask(cell: Cell) -> Prompt:
            depth, place = float(cell.depth or 0.0), (self.seed, self.kind, cell.context_length, cell.trial)
            own = Fresh(random_of(*place, depth))
            key, value = own.one("uuids"), own.one("uuids")
            fresh, others = Fresh(random_of(*place), without=own.taken), list[tuple[str, str]]()
            sides = around(
                frame, self.intro.format(), self.question.format(key=key), self.answer_prefix.format(key=key)
            )

            def build(units: int, padding: str) -> str:
                while len(others) < units - 1:
                    others.append((fresh.one("uuids"), fresh.one("uuids")))
                at = round(depth * (units - 1))
                pairs = dict([*others[:at], (key, value), *others[at : units - 1]])
                return sides.text(json.dumps(pairs, indent=0) + f"\n\n{padding}" * bool(padding))

            found = fitted(frame, build, cell.context_length, self.budget, SAMPLE)
            reached = round(depth * (found.units - 1)) / max(found.units - 1, 1)
            about = {"actual_depth": round(reached, 4), "pairs": found.units, "key": key}
            return Prompt(found.text, found.ids, (value,), about)

        return ask
