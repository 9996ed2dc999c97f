"""Where the rows and keys of a call are: in their text, and by the positions that the model has turned them to.

A text is what a row sees: padding before it and other texts in the same row of tokens are hidden by the mask. Positions
count from its first token. The model may begin with another number; RoPE makes no difference of that, and neither does
this.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn

from ssmax_eval.attention import Visible
from ssmax_eval.errors import UserError
from ssmax_eval.positions import Places


class _Seen(NamedTuple):
    """What the mask says of each row. All are [1 or B, T]."""

    first: Tensor
    """First column that it sees, int64."""
    own: Tensor
    """Whether it sees its own key: rows of padding do not."""
    last: Tensor
    """Whether it sees the key before its own."""


class Placer:
    """Finds the places of calls. Layers that share a mask and positions share the answer."""

    def __init__(self) -> None:
        self._known: dict[bool, tuple[tuple[Any, ...], Places]] = {}

    def places(self, module: nn.Module, visible: Visible, mask: Any, others: Mapping[str, Any]) -> Places:
        """Return where the rows and keys of a call are; `mask` and `others` are what transformers passed.

        UserError where that cannot be known.
        """
        name, given = type(module).__name__, others.get("position_ids")
        if not isinstance(given, Tensor):
            raise UserError(f"{name} does not tell its attention the positions of its tokens; it takes no position map")
        if given.ndim != 2 or given.shape[1] != visible.rows:
            raise UserError(
                f"{name} has positions of shape {tuple(given.shape)}, not one for each token; it takes no position map"
            )
        window = others.get("sliding_window") or getattr(module, "sliding_window", None)
        windowed, asked = window is not None, (mask, given)
        if windowed in self._known:
            (rows, keys, *refs), places = self._known[windowed]
            same = all((x if r is None else r()) is x for r, x in zip(refs, asked, strict=True))
            if same and (rows, keys) == (visible.rows, visible.keys) and (refs[0] is None) == (mask is None):
                return places
        places = find(visible, given, windowed=windowed, name=name)
        held = tuple(None if x is None else ref(x) for x in asked)
        self._known[windowed] = ((visible.rows, visible.keys, *held), places)
        return places


def find(visible: Visible, turned: Tensor, *, windowed: bool, name: str) -> Places:
    """Return the places of rows that the model has turned to positions `turned`, int64 [1 or B, T].

    With `windowed`, a row need not see its whole text, so that positions are those of the model. UserError where the
    positions of keys that came before cannot be known: tokens of a text must follow one another.
    """
    rows, keys, device = visible.rows, visible.keys, turned.device
    mask = None if visible.mask is None else visible.mask.any(1)
    begin = keys - rows if mask is None or rows == keys else _own_column(mask)
    column = torch.arange(begin, begin + rows, device=device)
    seen = _seen(mask, column)
    step = turned[:, 1:] - turned[:, :-1]
    together = (seen.own & seen.last)[:, 1:] & seen.own[:, :-1]
    if bool(((step != 1) & together).any()):
        raise UserError(
            f"{name} was given positions with gaps between the tokens of a text; they must follow one another"
        )
    place = turned if windowed else column - seen.first
    reaches = seen.own & (seen.first < begin)
    if begin and not windowed and bool((reaches & (turned != column) & (turned != place)).any()):
        raise UserError(
            f"{name} was given positions that do not count the tokens before them, so that those of keys in its cache "
            "are not known; leave out position_ids, or give each token the number of tokens before it"
        )
    return Places(place, _of_keys(place, column, keys), column, turned, _of_keys(turned, column, keys))


def _of_keys(rows: Tensor, column: Tensor, keys: int) -> Tensor:
    """Return positions of all keys, int64 [1 or B, S], from those of the rows, whose own keys are in `column`."""
    found = torch.arange(keys, device=rows.device) - column[0] + rows[:, :1]
    found[:, column] = rows.expand(len(found), -1)
    return found


def _seen(mask: Tensor | None, column: Tensor) -> _Seen:
    """Return what rows see; `mask` is [1 or B, T, S], None for plain causal order."""
    if mask is None:
        zero = torch.zeros_like(column)[None]
        return _Seen(zero, zero == 0, zero == 0)
    own, last = (
        mask.gather(-1, at.clamp(min=0).expand(len(mask), -1)[..., None])[..., 0] for at in (column, column - 1)
    )
    return _Seen(mask.to(torch.uint8).argmax(-1), own, last)


def _own_column(mask: Tensor) -> int:
    """Return the column of the first row's own key, of a mask [1 or B, T, S] with columns for keys before it.

    A cache may have columns for keys to come as well, so it is the last one that a row sees.
    """
    there = mask.any(0)
    seeing = there.any(-1)
    row = int(seeing.to(torch.uint8).argmax())
    if not bool(seeing[row]):
        return mask.shape[-1] - mask.shape[-2]
    return int(there[row].nonzero()[-1]) - row
