"""What surrounds a calibration: what it would cost, and whether it helped, from ordinary runs."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ssmax_eval.attention import Attention
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.cli.machine import rows
from ssmax_eval.cli.table import aligned
from ssmax_eval.measurement import Cell
from ssmax_eval.report.bands import band_differences
from ssmax_eval.report.series import labelled
from ssmax_eval.report.statistics import FEWEST
from ssmax_eval.run import estimate
from ssmax_eval.run.choosing import Say
from ssmax_eval.run.evaluate import prepare
from ssmax_eval.run.forecast import forecasts
from ssmax_eval.run.plan import Plan, results
from ssmax_eval.run.progress import duration
from ssmax_eval.train.calibration.documents import held_out
from ssmax_eval.train.calibration.settings import PASSES, Calibration
from ssmax_eval.train.calibration.table import Place

if TYPE_CHECKING:
    import pandas as pd

SHORT = 1024
"""Positions below this tell what a calibration costs where it is not needed."""


def planned(
    checkpoint: Checkpoint, attentions: Sequence[Attention], asked: Calibration, runs: str, say: Say, **options: Any
) -> Plan:
    """Return the runs that measure the loss of the held-out documents; `options` go to `prepare`."""
    return prepare(checkpoint, attentions, held_out(asked), runs, say=say, **options)


class Cost(NamedTuple):
    """What a calibration would take."""

    documents: int
    """Documents that are still to be read, each with its gradient, or looked into."""
    seconds: float
    """A rough time for that."""
    measuring_seconds: float
    """A rough time for the loss before and after."""
    bytes: int
    """Memory besides the weights, roughly."""

    @property
    def text(self) -> str:
        """The same in words."""
        return (
            f"fitting: {self.documents} documents, about {duration(self.seconds)}, {self.bytes / 1e9:.1f} GB beside "
            f"the weights\nmeasuring the loss before and after: about {duration(self.measuring_seconds)}\n"
            "Rough figures, from the rate at which this machine multiplies matrices."
        )


def cost(checkpoint: Checkpoint, asked: Calibration, place: Place, before: Plan) -> Cost:
    """Return what is left of a calibration, and of the measurement before and after it."""
    if place.read() is not None:
        left = 0
    else:
        kept = place.kept() or {"factors": [], "losses": []}
        if asked.closed_form is not None:
            left = asked.documents - len(kept["factors"])
        else:
            left = (asked.steps - len(kept["losses"])) * asked.documents
    passes = 1 if asked.closed_form else PASSES
    fitting = estimate.seconds(checkpoint, [Cell(asked.length)]) * passes * left
    after = estimate.seconds(checkpoint, [Cell(asked.measured_length)]) * asked.held_out
    config, dtype = checkpoint.config, checkpoint.device_and_dtype.dtype
    text = config.get_text_config(decoder=True)
    inputs = checkpoint.shape.layers * asked.length * int(text.hidden_size) * dtype.itemsize
    layer = PASSES * estimate.cell_bytes(config, dtype, asked.length)
    measuring = after + sum(one.seconds for one in forecasts(before))
    return Cost(left, fitting, measuring, layer if asked.closed_form else inputs + layer)


def difference(plan: Plan, asked: Calibration, train_length: int) -> "pd.DataFrame":
    """Return the loss before and after in stretches of positions, as `band_differences` does.

    The stretches end at `SHORT`, at the training length and at the lengths that were fitted.
    """
    frame = labelled(results(plan))
    before = frame.loc[frame["run"].astype("str") == plan.runs[0].name, "series"].iloc[0]
    last = asked.measured_length
    ends = {SHORT, train_length, *asked.lengths, last}
    return band_differences(frame, [1, *sorted(end for end in ends if 1 < end <= last)], str(before), "nll")


class Said(NamedTuple):
    """What a calibration came to, in words."""

    helps: bool
    """Whether the loss in the last stretch is lower, by its interval."""
    verdict: str


def said(table: "pd.DataFrame") -> Said:
    """Say whether the loss in the last stretch is lower, and what happens in the first one."""
    stretches = rows(table)
    first, last = stretches[0], stretches[-1]
    helps = bool(last["high"] < 0)
    where = f"at positions {last['first']:,} to {last['last']:,}"
    amount = f"{abs(last['mean']):.4f} nats per token"
    if helps:
        text = f"It helps {where}: the loss is {amount} lower ({interval(last)})."
    elif last["low"] > 0:
        text = f"It does not help {where}: the loss is {amount} higher ({interval(last)})."
    elif math.isnan(last["low"]):
        text = (
            f"Inconclusive {where}: {last['units']} independent texts give no interval, {FEWEST} would. "
            "The table is written all the same; nothing here shows that it helps."
        )
    else:
        text = (
            f"Inconclusive {where}: {last['mean']:+.4f} nats per token ({interval(last)}). "
            "The table is written all the same; nothing here shows that it helps."
        )
    if len(stretches) > 1:
        costs = "it costs" if first["low"] > 0 else "it gains" if first["high"] < 0 else "inconclusive,"
        text += (
            f"\nAt positions {first['first']:,} to {first['last']:,} {costs} {first['mean']:+.4f} ({interval(first)})."
        )
    return Said(helps, text)


def interval(row: Any) -> str:
    """Return the 95 % limits of a row in words."""
    return "no interval" if math.isnan(row["low"]) else f"{row['low']:+.4f} to {row['high']:+.4f}"


def as_text(table: "pd.DataFrame") -> str:
    """Return the loss before and after for a terminal."""
    head = ("positions", "before", "after", "difference", "95 % interval", "documents", "texts")
    lines = [
        (
            f"{row['first']:,} to {row['last']:,}", f"{row['before']:.4f}", f"{row['after']:.4f}",
            f"{row['mean']:+.4f}", interval(row), str(row["n"]), str(row["units"]),
        )
        for row in rows(table)
    ]  # fmt: skip
    return "Loss of held-out documents, in nats per token:\n" + aligned([head, *lines], indent="  ")
