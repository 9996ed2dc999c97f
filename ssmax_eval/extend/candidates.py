"""What is tried: changes of a checkpoint that need no training, each as the options that make it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from ssmax_eval.attention import Unrewritten, parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError, shown
from ssmax_eval.model import resolve, resolve_position

PLAIN = "plain"
"""What a checkpoint is called that nothing is changed of."""
OPTION = re.compile(r"(?:^|,)(position|attention|rope|rope_theta_scale)=")


@dataclass(frozen=True)
class Candidate:
    """A position map, an attention and a change of RoPE; each as in the checkpoint where it is not given."""

    position: str = "auto"
    """As `--position` takes it."""
    attention: str = "auto"
    """As `--attention` takes it."""
    rope: str | None = None
    """As `--rope` takes it."""
    rope_theta_scale: float = 1.0
    """Factor on the RoPE base."""
    called: str = ""
    """What tables call the attention, where its specification says too much."""

    @property
    def name(self) -> str:
        """What the tables call it, as in "logn + rerope:window=64"."""
        attention = self.called or ("" if self.attention == "auto" else self.attention)
        position = "" if self.position == "auto" else self.position
        base = "" if self.rope_theta_scale == 1.0 else f"base x{self.rope_theta_scale:g}"
        return " + ".join(filter(None, (attention, position, self.rope, base))) or PLAIN

    def on(self, checkpoint: Checkpoint) -> Checkpoint:
        """Return the checkpoint with this change of RoPE."""
        return _changed(checkpoint, self.rope, self.rope_theta_scale)

    def options(self) -> list[str]:
        """Return the options of `ssmax-eval run` that make this candidate, besides those of the checkpoint."""
        given = {"--attention": self.attention, "--position": self.position, "--rope": self.rope or "auto"}
        if self.rope_theta_scale != 1.0:
            given["--rope-theta-scale"] = f"{self.rope_theta_scale:g}"
        return [part for option, value in given.items() if value != "auto" for part in (option, value)]


@lru_cache
def _changed(checkpoint: Checkpoint, rope: str | None, scale: float) -> Checkpoint:
    if rope is None and scale == 1.0:
        return checkpoint
    return replace(
        checkpoint, rope=rope or checkpoint.rope, rope_theta_scale=checkpoint.rope_theta_scale * scale
    )  # fmt: skip


def candidates(checkpoint: Checkpoint, to: int) -> list[Candidate]:
    """Return what is tried on a checkpoint that is to read `to` tokens, doing nothing first.

    The parameters follow from the training length L: windows leave half of it for what is near, and far distances
    shrink so that none is beyond L. UserError where L is not known, or `to` is not beyond it.
    """
    trained = checkpoint.shape.train_length
    if not trained:
        raise UserError("the training length of this checkpoint is not known; give --train-length")
    if to <= trained:
        raise UserError(f"--to must be beyond the training length of {trained} tokens; given {to}")
    near = max(trained // 2, 1)
    shrink = math.ceil((to - near) / (trained - near))
    maps = [
        f"rerope:window={near}",
        f"leaky_rerope:window={near},k={shrink}",
        f"self_extend:window={near},group={shrink}",
        "dca",
        f"lm_infinite:window={trained}",
    ]
    found = [Candidate(), Candidate(attention="logn"), *(Candidate(position=one) for one in maps)]
    factor = to / trained
    if not checkpoint.rope_label:
        found.append(Candidate(rope=f"yarn:factor={factor:g}"))
        if (dim := _head_dim(checkpoint)) > 2:
            found.append(Candidate(rope_theta_scale=float(f"{factor ** (dim / (dim - 2)):.4g}")))
    return found


def own(text: str, checkpoint: Checkpoint) -> Candidate:
    """Return the candidate of `position=…,attention=…,rope=…,rope_theta_scale=…`, of which some may be left out.

    UserError for anything else, and for what cannot be on this checkpoint.
    """
    parts = OPTION.split(text)
    given = dict(zip(parts[1::2], parts[2::2], strict=True))
    if parts[0] or not given or len(given) < len(parts) // 2:
        raise UserError(
            f"a candidate is position=…,attention=…,rope=…,rope_theta_scale=… or some of these; got {shown(text)}"
        )
    try:
        scale = float(given.pop("rope_theta_scale", "1"))
    except ValueError:
        raise UserError(f"rope_theta_scale of a candidate must be a number; got {shown(text)}") from None
    candidate = Candidate(**given, rope_theta_scale=scale)
    if isinstance(parse(candidate.attention), Unrewritten):
        raise UserError("attention 'none' of a candidate changes nothing; leave it out, or give another")
    refuse_impossible(candidate, checkpoint)
    return candidate


def refuse_impossible(candidate: Candidate, checkpoint: Checkpoint) -> None:
    """Raise UserError where a checkpoint cannot be changed like this, as far as its config says."""
    changed = candidate.on(checkpoint)
    _ = changed.config
    resolve(changed, parse(candidate.attention))
    resolve_position(changed, candidate.position)


def with_logn(candidate: Candidate) -> Candidate | None:
    """Return a candidate with scores that grow with log n; None where it has an attention of its own."""
    return replace(candidate, attention="logn") if candidate.attention == "auto" else None


def distinct(found: Sequence[Candidate]) -> list[Candidate]:
    """Return candidates without those that are called like one before them."""
    return list({one.name: one for one in reversed(found)}.values())[::-1]


def _head_dim(checkpoint: Checkpoint) -> int:
    """Return the dimensions of a head; 0 where the config says none."""
    text: Any = checkpoint.config.get_text_config(decoder=True)
    heads, hidden = checkpoint.shape.heads, getattr(text, "hidden_size", 0) or 0
    return int(getattr(text, "head_dim", None) or (hidden // heads if heads else 0))
