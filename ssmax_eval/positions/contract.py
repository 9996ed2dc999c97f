"""What every position map must do, whoever wrote it; `ssmax-eval check my_map.py:Mine` runs this.

Each clause is tried on random queries and keys in float64: 4 query heads on 2 key heads, 37 tokens.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import Tensor

from ssmax_eval.attention.base import Attention, Shape, by_definition
from ssmax_eval.attention.call import Call, Rows, Visible
from ssmax_eval.attention.contract import ContractError
from ssmax_eval.attention.softmax import Softmax
from ssmax_eval.errors import UserError
from ssmax_eval.positions.base import PositionMap
from ssmax_eval.positions.placed import Mapped, Places
from ssmax_eval.positions.rotation import Rotation

SHAPE = Shape(layers=2, heads=4, train_length=16)
"""With a short training length, so that defaults are smaller than the texts here."""
TOKENS, WIDTH, SCALING, CLOSE = 37, 8, 0.35, 1e-9
ROTATION = Rotation(1.0 / 100 ** (torch.arange(4).float() / 4), "halves")


def run(position: PositionMap) -> Iterator[tuple[str, str | None]]:
    """Yield each clause of the contract, and what is wrong with it, or None."""
    resolved = position.resolve(SHAPE)
    for clause in CLAUSES:
        title = clause.__name__.strip("_").replace("_", " ")
        try:
            clause(resolved)
        except ContractError as problem:
            yield title, str(problem)
        except Exception as error:  # whatever a user's own code raises is a finding
            yield title, f"raised {type(error).__name__}: {' '.join(str(error).split())}"
        else:
            yield title, None


def _every_pair_is_in_one_part_at_most(position: PositionMap) -> None:
    held = sum(part.holds.long() for part in _call(position, *_inputs()).at(torch.arange(TOKENS)).parts)
    if not isinstance(held, Tensor):
        raise ContractError("it has no parts; return at least one")
    if bool((held > 1).any()):
        row, key = (int(x) for x in (held[0, 0] > 1).nonzero()[0])
        raise ContractError(f"the pair of query {row} and key {key} is in several parts")


def _a_row_sees_its_own_key(position: PositionMap) -> None:
    visible = _call(position, *_inputs()).block(0, TOKENS).visible
    if not bool(visible.diagonal(dim1=-2, dim2=-1).all()):
        raise ContractError("a query does not see its own key, so that a row may see nothing")


def _no_look_at_later_keys(position: PositionMap) -> None:
    query, key, value = _inputs()
    other = key.clone()
    other[:, :, 20:] += 1.0
    before, after = (_forward(position, query, k, value)[:, :, :20] for k in (key, other))
    _same(before, after, "a row changes with keys that come after it")


def _decoding_and_chunks_are_the_whole(position: PositionMap) -> None:
    query, key, value = _inputs()
    whole = _forward(position, query, key, value)
    for start, stop in ((0, 9), (9, 30), (30, 31), (36, 37)):
        part = _forward(position, query[:, :, start:stop], key[:, :, :stop], value[:, :, :stop])
        _same(
            part,
            whole[:, :, start:stop],
            f"rows {start} to {stop - 1} differ when they come alone; where a key is turned to must "
            "follow from its own position",
        )


def _only_distances_of_the_text_matter(position: PositionMap) -> None:
    """A model may count from any number: turned further by as much, queries and keys give the same."""
    query, key, value = _inputs()
    plain = Places.plain(TOKENS, TOKENS)
    further = replace(plain, query_turn=plain.query_turn + 11, key_turn=plain.key_turn + 11)
    turn = ROTATION.between(plain.query_turn, further.query_turn)
    q, k = (ROTATION.turned(x, turn) for x in (query, key))
    call = Call(q, k, value, Visible(TOKENS, TOKENS), SCALING, placed=Mapped(position, ROTATION, further))
    _same(
        Softmax().forward(call),
        _forward(position, query, key, value),
        "it depends on where a model begins to count",
        1e-4,
    )


def _forward_is_the_definition(position: PositionMap) -> None:
    call = _call(position, *_inputs())
    _same(Softmax().forward(call), by_definition(Softmax(), call), "the fast path gives something else")


CLAUSES: tuple[Callable[[PositionMap], None], ...] = (
    _every_pair_is_in_one_part_at_most,
    _a_row_sees_its_own_key,
    _no_look_at_later_keys,
    _decoding_and_chunks_are_the_whole,
    _only_distances_of_the_text_matter,
    _forward_is_the_definition,
)


def demand(position: PositionMap) -> None:
    """Raise UserError with the first clause of the contract that does not hold."""
    for title, problem in run(position):
        if problem is not None:
            raise UserError(f"{type(position).__name__} breaks the contract, {title}: {problem}")


def refuse_own_products(attention: Attention, rows: Rows) -> None:
    """Raise UserError for an attention that multiplies queries and keys by itself, past a position map.

    Its weights must stay what they are where `rows.scores` and `rows.cosines` do, whatever directions the vectors have.
    """
    query, key = rows.query.roll(1, -1), rows.key.roll(3, -1)  # of the same lengths
    other = replace(rows, query=query, key=key)
    other.__dict__.update(scores=rows.scores, cosines=rows.cosines)
    if not torch.equal(attention.weights(rows), attention.weights(other)):
        raise UserError(
            f"{type(attention).__name__} multiplies queries and keys by itself, where no position map can reach them; "
            "take rows.scores or rows.cosines"
        )


def _inputs() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(7)

    def draw(count: int) -> Tensor:
        return torch.randn(2, count, TOKENS, WIDTH, dtype=torch.float64, generator=generator)

    return draw(4), draw(2), draw(2)


def _call(position: PositionMap, query: Tensor, key: Tensor, value: Tensor) -> Call:
    rows, keys = query.shape[2], key.shape[2]
    placed = Mapped(position, ROTATION, Places.plain(rows, keys))
    return Call(query, key, value, Visible(rows, keys), SCALING, placed=placed)


def _forward(position: PositionMap, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return Softmax().forward(_call(position, query, key, value))


def _same(a: Tensor, b: Tensor, problem: str, close: float = CLOSE) -> None:
    if not (error := float((a - b).abs().max())) < close:
        raise ContractError(f"{problem} (by {error:.2g})")
