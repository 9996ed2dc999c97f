"""Every attention once more, in numpy and float64, one row at a time: written from the papers' formulas alone."""

import math
from typing import Any

import numpy as np


def weights(name: str, q: Any, k: Any, visible: Any, scaling: float, /, **p: Any) -> Any:
    """Weights [rows, keys] of one head; q [rows, d], k [keys, d], visible boolean [rows, keys]."""
    a = np.zeros(visible.shape)
    for i, row in enumerate(visible):
        if row.any():
            a[i, row] = _row(name, q[i], k[row], scaling, p)
    return a


def _row(name: str, q: Any, k: Any, scaling: float, p: dict[str, Any]) -> Any:
    n, d = k.shape
    z = scaling * (k @ q)
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
            cosines = (k @ q) / (np.linalg.norm(k, axis=1) * np.linalg.norm(q)) if p.get("qk_norm", True) else z
            x = math.log(d) * math.log(n) * cosines
            a = np.logaddexp(0.0, x)
            a = a / a.sum()
            return a if name == "lssa" else _reweighted(a, n, p.get("p", 15))
        case "softmax_reweighted":
            return _reweighted(_softmax(z), n, p.get("p", 15))
        case "sparsemax":
            return _sparsemax(z)
        case "alpha_entmax" | "entmax15":
            return _entmax(z, p.get("alpha", 1.5))
        case "asentmax":
            return _entmax((1.0 + p["beta"] * math.log(n + 1) ** p["gamma"]) * z, 1.5)
        case "topk":
            return _softmax(np.where(z >= np.sort(z)[-min(p["k"], n)], z, -np.inf))
        case "t_softmax":
            return _t_softmax(z, p["t"])
        case "r_softmax":
            return _t_softmax(z, 1e-8 - np.quantile(z - z.max(), p["r"]))
        case "multimax" | "multimax2":
            low, high = (np.maximum(p["b0"] - z, 0.0), np.maximum(z - p["b1"], 0.0))
            bent = z + p["t0"] * low + p["t1"] * high
            low, high = (np.maximum(p.get("b2", 0.0) - z, 0.0), np.maximum(z - p.get("b3", 0.0), 0.0))
            return _softmax(bent + p.get("t2", 0.0) * low**2 + p.get("t3", 0.0) * high**2)
        case "rela":
            return np.maximum(z, 0.0)
        case "softmax_n":
            e = np.exp(z - z.max())
            return e / (p["n"] * math.exp(-z.max()) + e.sum())
        case "adaptive_temperature":
            a = _softmax(z)
            h = -(a[a > 0] * np.log(a[a > 0])).sum()
            beta = -0.037 * h**4 + 0.481 * h**3 - 2.3 * h**2 + 4.917 * h - 1.791
            return _softmax(z * (max(beta, 1.0) if h > 0.5 else 1.0))
        case "sigmoid":
            return 1.0 / (1.0 + np.exp(-(z + p.get("b", -math.log(n)))))
        case "stick_breaking":
            share = 1.0 / (1.0 + np.exp(-z[:-1]))
            left = np.cumprod((1.0 - share)[::-1])[::-1]
            own = left[0] if n > 1 else 1.0
            return np.append(share * np.append(left[1:], 1.0)[: n - 1], own if p.get("rest") else 0.0)
        case "scale_invariant":
            square = 2.0 * np.log(np.arange(n)[::-1] / p.get("tau", 10.0) + 1.0) + 1.0
            return _softmax(np.sqrt(square) * z + 1.0 - square)
        case "llama4":
            return _softmax((1.0 + 0.1 * math.log(n // p["f"] + 1)) * z)
        case "ministral":
            return _softmax((1.0 + p["beta"] * math.log(1 + (n - 1) // p["n_train"])) * z)
        case "inkling":
            return _softmax((1.0 + p["alpha"] * math.log(max(n / p["f"], 1.0))) * z)
        case "grok":
            return _softmax((math.log(n - 1) / math.log(p["n_train"]) if n - 1 > p["n_train"] else 1.0) * z)
        case "hype":
            return _softmax(math.log(n - 1 + p["a"]) / math.log(p["a"]) * z)
    raise AssertionError(f"{name} has no reference definition; write one here")


def _sparsemax(z: Any) -> Any:
    """By sorting, as in the paper's Algorithm 1."""
    ordered = np.sort(z)[::-1]
    sums, counts = np.cumsum(ordered), np.arange(1, len(z) + 1)
    kept = int(counts[1 + counts * ordered > sums][-1])
    return np.maximum(z - (sums[kept - 1] - 1.0) / kept, 0.0)


def _entmax(z: Any, alpha: float) -> Any:
    """By bisection of the threshold, down to the last bit."""
    x = (alpha - 1.0) * (z - z.max())
    low, high = -1.0, 0.0
    for _ in range(60):
        tau = (low + high) / 2
        low, high = (tau, high) if (np.maximum(x - tau, 0.0) ** (1 / (alpha - 1))).sum() > 1.0 else (low, tau)
    return np.maximum(x - low, 0.0) ** (1 / (alpha - 1))


def _t_softmax(z: Any, t: float) -> Any:
    below = z - z.max()
    w = np.maximum(below + t, 0.0) * np.exp(below)
    return w / w.sum()


def _softmax(z: Any) -> Any:
    e = np.exp(z - z.max())
    return e / e.sum()


def _reweighted(a: Any, n: int, power: float) -> Any:
    x = np.maximum(a * n - (0 if n <= 3 else 1), 0.0)
    # float64 holds n^15 for n = 20 000 (3e64) without help.
    x = x**power
    return x / x.sum() if x.sum() > 0 else x
