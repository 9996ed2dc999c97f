"""Prompts that are made while the model works on others."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell

P = TypeVar("P")
"""A prompt."""


class Ahead(Generic[P]):
    """Make prompts in a thread of their own, also those that come next."""

    def __init__(self, ask: Callable[[Cell], P], order: Sequence[Cell]) -> None:
        self.ask, self.order = ask, list(order)
        self.places = {cell: place for place, cell in enumerate(self.order)}
        self.thread = ThreadPoolExecutor(1)
        self.begun: dict[Cell, Future[P]] = {}

    def of(self, cells: Sequence[Cell]) -> list[P | UserError]:
        """Return the prompts of some cells, or why one cannot be made; as many that follow in the grid are begun."""
        futures = [self.begun[cell] if cell in self.begun else self.thread.submit(self.ask, cell) for cell in cells]
        after = max(self.places[cell] for cell in cells) + 1
        self.begun = {
            cell: self.begun.get(cell) or self.thread.submit(self.ask, cell)
            for cell in self.order[after : after + len(cells)]
        }
        return [self._result(future) for future in futures]

    @staticmethod
    def _result(future: Future[P]) -> P | UserError:
        try:
            return future.result()
        except UserError as error:
            return error
