"""What some architectures do to their scores besides scaling them: soft-capping, a bias, a sink."""

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Extras:
    """What a call of attention asks for beyond q, k, v, mask and scaling; none of it, where all is None.

    The scores that a row hands to its softmax become z = bias + softcap · tanh(scaling · q·k / softcap), and the
    sink is one more entry of the row, without a value. An attention that scales scores scales all of these alike,
    for it stands where the softmax stood; the sink is no key, so it does not count in n.
    """

    softcap: float | None = None
    """Bound on the size of a score (Gemma 2)."""
    bias: Tensor | None = None
    """Added to the scores: [B or 1, H or 1, T, S]."""
    sink: Tensor | None = None
    """A logit that takes weight and gives nothing (gpt-oss): [B or 1, H, T or 1, 1]."""

    def named(self) -> set[str]:
        """The names of what is there."""
        return {f.name for f in fields(self) if getattr(self, f.name) is not None}

    def at(self, rows: Tensor | slice, keys: int | None = None) -> "Extras":
        """The same for some of the rows, and the first `keys` keys."""
        bias = _rows(self.bias, rows)
        return Extras(self.softcap, bias if bias is None else bias[..., :keys], _rows(self.sink, rows))

    def applied(self, z: Tensor) -> Tensor:
        """Scores [B, H, R, S] with soft-capping and bias."""
        if self.softcap is not None:
            z = self.softcap * (z / self.softcap).tanh()
        return z if self.bias is None else z + self.bias


def _rows(x: Tensor | None, rows: Tensor | slice) -> Tensor | None:
    return x if x is None or x.shape[2] == 1 else x[:, :, rows]


PLAIN = Extras()
"""Nothing besides."""
