"""Drop the losers of a rung: keep the better half, and whoever is not worse than the last of it."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from ssmax_eval.extend.candidates import PLAIN
from ssmax_eval.extend.rungs import Decisive
from ssmax_eval.extend.values import Values


class Halved(NamedTuple):
    """Which candidates go on, the best first, and why each other one does not."""

    kept: list[str]
    dropped: dict[str, str]


def halve(found: Values, names: Sequence[str], keep: int, decisive: Decisive) -> Halved:
    """Return the best `keep` of some candidates by the mean of what decides, paired with the plain checkpoint.

    One of the others is dropped only where its mean is worse than that of the last one kept, over the cells that both
    have; ties are kept. One that has no finished cell is dropped with its error.
    """
    means = {name: found.difference(decisive.name, name, PLAIN).mean for name in names}
    order = sorted(
        (name for name in names if not math.isnan(means[name])), key=lambda name: -decisive.better * means[name]
    )
    kept = order[:keep]
    dropped = {name: found.error(name) or "nothing was measured" for name in names if math.isnan(means[name])}
    for name in order[keep:]:
        difference = found.difference(decisive.name, name, kept[-1])
        if decisive.better * difference.mean < 0:
            dropped[name] = f"{decisive.said} {difference.mean:+.4g} against {kept[-1]}"
        else:
            kept.append(name)
    return Halved(kept, dropped)
