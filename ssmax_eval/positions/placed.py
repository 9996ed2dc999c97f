"""A position map in force: from positions to the parts that the scores of a call are made of."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ssmax_eval.attention.call import Part, Placed
from ssmax_eval.positions.base import PositionMap
from ssmax_eval.positions.rotation import Rotation, Turn


@dataclass(frozen=True, eq=False)
class Places:
    """Where the rows and keys of a call are. Layers that share a mask share this."""

    query: Tensor
    """Position of each row in its text, from 0: int64 [1 or B, T]."""
    key: Tensor
    """Likewise of each key: int64 [1 or B, S]."""
    column: Tensor
    """The key that is each row's own: int64 [T]."""
    query_turn: Tensor
    """The position that the model has turned each row to, int64 [1 or B, T]; another number may be its first."""
    key_turn: Tensor
    """Likewise of each key: int64 [1 or B, S]."""
    kept: dict[object, Turn] = field(default_factory=dict)
    """What keys are turned by, which layers share."""

    @classmethod
    def plain(cls, rows: int, keys: int, device: torch.device | None = None) -> "Places":
        """Return the places of one text from its first token, of which the last rows are in the call."""
        key = torch.arange(keys, device=device)[None]
        query = key[:, keys - rows :]
        return cls(query, key, query[0], query, key)

    def at(self, rows: Tensor) -> "Places":
        """Return the same for some of the rows (int64 [R]); a negative one is counted back from the first."""
        there, before = rows.clamp(min=0), rows.clamp(max=0)
        query, turn = (x[:, there] + before for x in (self.query, self.query_turn))
        return Places(query, self.key, self.column[there] + before, turn, self.key_turn, self.kept)


class Mapped(Placed):
    """One call under a position map."""

    def __init__(self, position: PositionMap, rotation: Rotation | None, places: Places) -> None:
        self.position, self.rotation, self.places = position, rotation, places
        """`rotation` is None in a layer that does not turn its queries and keys."""
        self._keys: dict[int, Tensor] = {}

    def parts(self, query: Tensor, key: Tensor, rows: Tensor) -> tuple[Part, ...]:
        places, found = self.places.at(rows), list[Part]()
        offset = places.column - places.query  # [1 or B, R], from positions in a text to columns
        for number, pairs in enumerate(self.position.pairs(places.query, places.key)):
            first = _like(pairs.first, places.query)
            stop = places.query + 1
            if pairs.stop is not None:
                stop = torch.minimum(pairs.stop, stop)
            turned = self._query(query, places, pairs.query), self._key(number, key, pairs.key)
            found.append(Part(*turned, first + offset, stop + offset))
        return tuple(found)

    def _query(self, query: Tensor, places: Places, to: Tensor | int | None) -> Tensor:
        if to is None or self.rotation is None:
            return query
        after = places.query_turn + (_like(to, places.query) - places.query)
        return self.rotation.turned(query, self.rotation.between(places.query_turn, after))

    def _key(self, number: int, key: Tensor, to: Tensor | int | None) -> Tensor:
        if to is None or self.rotation is None:
            return key
        if number not in self._keys:
            places, name = self.places, (number, id(self.rotation))
            if name not in places.kept:
                after = places.key_turn + (_like(to, places.key) - places.key)
                places.kept[name] = self.rotation.between(places.key_turn, after)
            self._keys[number] = self.rotation.turned(key, places.kept[name])
        return self._keys[number]


def _like(x: Tensor | int, like: Tensor) -> Tensor:
    return x if isinstance(x, Tensor) else torch.full_like(like, x)
