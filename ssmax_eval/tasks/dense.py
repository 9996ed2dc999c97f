"""Needle in a haystack, all depths at once: one text holds a needle for each depth, and a cell asks for one of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.niah import Niah
from ssmax_eval.tasks.prompts import CITIES, Haystack, Prompt, random_of


@dataclass(frozen=True)
class Needle:
    """One sentence to be found."""

    place: int
    """Where in the filler it stands; at the filler's end, after all of it."""
    city: str
    number: str


class DenseHaystack(Haystack):
    """Make prompts whose haystack holds a needle at each of the `depths`; a cell's question asks for one of them."""

    def __init__(self, *arguments: Any, depths: tuple[float, ...], **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.depths = depths
        self._column: dict[tuple[int, int | None], tuple[int, list[Needle]]] = {}

    def prompt(self, cell: Cell) -> Prompt:
        """Return the prompt of a cell.

        All depths of a trial have the same text, but for the question and the last words of the filler: the length is
        exact, and questions differ by a few tokens. UserError as for one needle.
        """
        length = cell.context_length
        start, needles = self._trial(length, cell.trial)
        mine = needles[self.depths.index(cell.depth or 0.0)]
        text, stop, ids, offsets = self._fit(start, length, self._asking(start, lambda _: needles, mine))
        first, at, last = (self._token(place) for place in (start, min(mine.place, stop), stop))
        answer_at = len(text) - len(mine.number) - 1
        found = self._located(text, ids, offsets, mine.number, answer_at)
        return Prompt(ids, *found, (at - first) / max(last - first, 1), text, answer_at, mine.city, mine.number)

    def _trial(self, length: int, trial: int | None) -> tuple[int, list[Needle]]:
        """Return where the filler of a trial starts, and its needles by depth, no two alike in city or number."""
        if (length, trial) not in self._column:
            draw = random_of(self.seed, length, trial, "dense")
            start = self._start(random_of(self.seed, length, trial), length)
            numbers: dict[str, None] = {}
            while len(numbers) < len(self.depths):
                numbers[self._number(draw)] = None
            cities = draw.sample(CITIES, len(self.depths))
            needles = [Needle(start, *drawn) for drawn in zip(cities, numbers, strict=True)]

            def needles_at(stop: int) -> list[Needle]:
                places = [self._place(start, stop, depth) for depth in self.depths]
                ends = len(self.filler)
                pairs = zip(needles, places, strict=True)
                return [replace(needle, place=place if place < stop else ends) for needle, place in pairs]

            longest = max(needles, key=lambda n: len(self._encode(f"{self._frame(n.city)[1]} {n.number}")[0]))
            stop = self._fit(start, length, self._asking(start, needles_at, longest))[1]
            self._column = {(length, trial): (start, needles_at(stop))}
        return self._column[length, trial]

    def _asking(self, start: int, needles_at: Callable[[int], list[Needle]], mine: Needle) -> Callable[[int, str], str]:
        """Return a function that makes the text, with the question for `mine`, from where the filler is cut and what
        follows the cut; `needles_at` gives the needles at a cut.
        """
        head, tail = self._frame(mine.city)

        def assembled(stop: int, ending: str) -> str:
            at, parts, after = start, [head], []
            for needle in sorted(needles_at(stop), key=lambda needle: needle.place):
                sentence = self.wording.needle.format(city=needle.city, number=needle.number)
                if needle.place < stop:
                    parts.append(f"{self.filler[at : needle.place]}{sentence} ")
                    at = needle.place
                else:
                    after.append(sentence)
            end = f"\n\n{' '.join(after)}" if after else ""
            return f"{''.join(parts)}{self.filler[at:stop]}{ending}{end}{tail} {mine.number}"

        return assembled


@dataclass(frozen=True, kw_only=True)
class NiahDense(Niah):
    """Retrieval by context length and depth, with the needles of all depths in one haystack and one question a depth.

    One pass over the haystack serves all depths. The needles of the other depths distract, so the task is harder than
    `niah`: do not compare the numbers of the two.
    """

    depths: tuple[float, ...] = (0.0, 0.25, 0.5, 0.75, 1.0)
    """Depths of the needles. Every prompt holds all of them, so another list of depths is another run."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.own_filler:
            raise UserError("own_filler must be false: all depths stand in one haystack here; try --task niah")
        if len(self.depths) > len(CITIES) or len(set(self.depths)) < len(self.depths):
            raise UserError(f"depths must be at most {len(CITIES)}, all different; given {list(self.depths)}")
        planted, asked = (
            text.format(city=CITIES[0], number="") for text in (self.needle, self.question + self.answer_prefix)
        )
        if CITIES[0] not in planted or CITIES[0] not in asked:
            raise UserError("needle and question must contain {city}: it tells the needles of a haystack apart")

    def maker(self, *arguments: Any, **settings: Any) -> Haystack:
        return DenseHaystack(*arguments, depths=self.depths, **settings)
