"""Every attention once more, in numpy and float64, one row at a time: written from the papers' formulas alone."""

import math
from typing import Any

import numpy as np


def weights(name: str, q: Any, k: Any, visible: Any, scaling: float, **p: Any) -> Any:
    """Weights [rows, keys] of one head; q [rows, d], k [keys, d], visible boolean [rows, keys]."""
    a = np.zeros(visible.shape)
    for i, row in enumerate(visible):
        if row.any():
            a[i, row] = _row(name, q[i], k[row], scaling, p)
    return a


def _row(name: str, q: Any, k: Any, scaling: float, p: dict[str, Any]) -> Any:
    n, d = k.shape
    z = scaling * (k @ q)
    cosines = (k @ q) / (np.linalg.norm(k, axis=1) * np.linalg.norm(q))
    match name:
        case "softmax":
            return _softmax(z)
        case "ssmax":
            return _softmax((p["s"] * math.log(n) + p.get("b", 0.0)) * z)
        case "logn":
            return _softmax(max(1.0, math.log(n) / math.log(p["n_train"])) * z)
        case "temperature":
            return _softmax((1.0 + p.get("beta", 0.1) * math.log(n // p.get("f", 8192) + 1)) * z)
        case "per_n":
            return _softmax(p["p"] * z)
        case "lssa" | "lssar":
            x = math.log(d) * math.log(n) * (cosines if p.get("qk_norm", True) else z)
            a = np.logaddexp(0.0, x)
            a = a / a.sum()
            return a if name == "lssa" else _reweighted(a, n, p.get("p", 15))
        case "softmax_reweighted":
            return _reweighted(_softmax(z), n, p.get("p", 15))
    raise AssertionError(f"{name} has no reference definition; write one here")


def _softmax(z: Any) -> Any:
    e = np.exp(z - z.max())
    return e / e.sum()


def _reweighted(a: Any, n: int, power: float) -> Any:
    x = np.maximum(a * n - (0 if n <= 3 else 1), 0.0)
    # float64 holds n^15 for n = 20 000 (3e64) without help.
    x = x**power
    return x / x.sum() if x.sum() > 0 else x
