"""The claims of the two papers, as `claims.yaml` lists them, each with the range that it asks for."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.settings import from_yaml
from study.data import entry, mappings
from study.families import listed
from study.measures import Measure
from study.quantities import measure
from study.verdicts import Range

FILE = Path(__file__).with_name("claims.yaml")
ASKS = re.compile(r"(below|above|within) (\S+)")
"""What a claim asks for: a direction, and a number or the name of a margin."""


@dataclass(frozen=True)
class Margins:
    """How far apart things may be that count as the same: our choice, since the papers give no numbers."""

    alike: float
    """Nats per token: losses at the training length that differ by less are about the same."""
    flat: float
    """Nats per token: a loss that rises by less beyond the training length is nearly flat."""
    as_many: float
    """Shares of needles that differ by less are about the same."""
    half: float
    """What finds fewer needles than this share fails to find them."""


@dataclass(frozen=True)
class Claim:
    """A sentence of a paper, as a range for one difference: this minus than."""

    text: str
    paper: str
    reported: str
    """What the paper reports."""
    this: str
    """A family."""
    than: str
    """Another, or the same."""
    wanted: Range
    measure: Measure
    than_measure: Measure
    """How `than` is measured: another way only for how far something rises."""
    line: float | None = None
    """A share that `than` must lie below and `this` above, beside the difference."""
    details: tuple[Claim, ...] = ()
    """Claims to look into when this one does not hold."""


@dataclass(frozen=True)
class Claims:
    """All claims in the order of the page, and the margins that they use."""

    claims: tuple[Claim, ...]
    margins: Margins

    @property
    def papers(self) -> list[str]:
        """The papers, each once."""
        return list(dict.fromkeys(claim.paper for claim in self.claims))


@dataclass(frozen=True, kw_only=True)
class _Written:
    """A claim as the YAML file has it; the head of that file says what each field means."""

    claim: str
    reported: str
    this: str
    than: str
    quantity: str
    than_quantity: str | None = None
    rope: str | None = None
    asks: str
    line: str | None = None


def read_claims(n: int, path: Path = FILE) -> Claims:
    """The claims of a file, for checkpoints trained with n tokens. UserError, in one line, for a mistake in it."""
    content = from_yaml(path, "claims")
    papers = mappings(content, "papers", path.name)
    if not isinstance(content.get("margins"), dict):
        raise UserError(f"{path.name} must hold a mapping 'margins'")
    margins = entry(Margins, content["margins"], f"{path.name}, margins")
    claims = []
    for paper in papers:
        name = paper.get("paper")
        if not isinstance(name, str):
            raise UserError(f"{path.name}: every entry of 'papers' needs its name under 'paper'")
        claims += [
            _claim(each, {}, name, margins, n, path) for each in mappings(paper, "claims", f"{name!r} in {path.name}")
        ]
    return Claims(tuple(claims), margins)


def _claim(given: dict[str, Any], above: dict[str, Any], paper: str, margins: Margins, n: int, path: Path) -> Claim:
    """One claim with its details; what is not given is as in the claim `above` it."""
    content = {**above, **given}
    below = {"details": content.pop("details", [])}
    where = f"{path.name}, {str(content.get('claim', 'a claim'))!r}"
    written = entry(_Written, content, where)
    for family in (written.this, written.than):
        if family not in listed().names:
            raise unknown(f"family in {where}:", family, listed().names)
    if written.this == written.than and written.than_quantity in (None, written.quantity):
        raise UserError(f"{where}: it compares {written.this!r} with itself; give than_quantity, or another family")
    this = measure(written.quantity, written.rope, n, where)
    if written.line is not None and not this.percent:
        raise UserError(f"{where}: a line needs a share, such as 'needles found at 10x'; given {written.quantity!r}")
    return Claim(
        text=written.claim,
        paper=paper,
        reported=written.reported,
        this=written.this,
        than=written.than,
        wanted=_asked(written.asks, margins, where),
        measure=this,
        than_measure=measure(written.than_quantity or written.quantity, written.rope, n, where),
        line=None if written.line is None else _limit(written.line, margins, where),
        details=tuple(_claim(detail, content, paper, margins, n, path) for detail in mappings(below, "details", where)),
    )


def _asked(words: str, margins: Margins, where: str) -> Range:
    """The range that a claim asks for: "below 0", "above flat", "within alike" (from minus alike to alike)."""
    match = ASKS.fullmatch(words)
    if match is None:
        raise UserError(f"{where}: asks takes 'below LIMIT', 'above LIMIT' or 'within LIMIT'; given {words!r}")
    direction, limit = match.groups()
    value = _limit(limit, margins, where)
    if direction == "within":
        return Range(-value, value)
    return Range(high=value) if direction == "below" else Range(low=value)


def _limit(limit: str, margins: Margins, where: str) -> float:
    """A number, or the margin of this name."""
    known = asdict(margins)
    try:
        return float(known.get(limit, limit))
    except ValueError:
        raise unknown(f"limit in {where}:", limit, known) from None
