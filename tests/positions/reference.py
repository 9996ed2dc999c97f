"""Every position map once more, in numpy and float64: raw queries and keys turned at the distance of each pair.

Written from the authors' rules alone, one pair at a time. Nothing is turned back and forth.
"""

from typing import Any

import numpy as np


def distance(name: str, i: int, j: int, **p: Any) -> tuple[float, float] | None:
    """Positions of query i and key j (i >= j) under a map; None where the key is hidden."""
    match name:
        case "rerope":
            return (i, j) if i - j < p["window"] else (p["window"], 0)
        case "leaky_rerope":
            w, k = p["window"], p["k"]
            return (i, j) if i - j < w else ((i + w * (k - 1)) / k, j / k)
        case "self_extend":
            w, g = p["window"], p["group"]
            return (i, j) if i - j < w else (i // g + w - w // g, j // g)
        case "dca":
            c = p["chunk"] - p["local"]
            apart = i // c - j // c
            if apart == 0:
                return i % c, j % c
            return (min(i % c + c, p["chunk"]) if apart == 1 else min(c - 1 + c, p["chunk"])), j % c
        case "streaming":
            cache = _cache(i, p["sinks"], p["window"])
            return (len(cache) - 1, cache.index(j)) if j in cache else None
        case "lm_infinite":
            if i - j < p["window"]:
                return i, j
            return (p["window"], 0) if j < p["first"] else None
        case "nope":
            return 0, 0
    raise AssertionError(f"{name} has no reference rule; write one here")


def _cache(i: int, sinks: int, window: int) -> list[int]:
    """Tokens that token i sees where the cache is cut back after each one, and its own."""
    cache: list[int] = []
    for token in range(i):
        cache.append(token)
        if len(cache) > sinks + window:
            cache = cache[:sinks] + cache[len(cache) - window :]
    return [*cache, i]


def turned(x: Any, positions: Any, frequencies: Any, style: str = "halves", start: int = 0) -> Any:
    """RoPE on vectors x [n, d] at positions [n], two numbers of each at a time."""
    x, m = x.copy(), len(frequencies)
    for pair, frequency in enumerate(frequencies):
        a, b = (start + pair, start + pair + m) if style == "halves" else (start + 2 * pair, start + 2 * pair + 1)
        cos, sin = np.cos(positions * frequency), np.sin(positions * frequency)
        x[:, a], x[:, b] = x[:, a] * cos - x[:, b] * sin, x[:, b] * cos + x[:, a] * sin
    return x


def products(
    name: str, q: Any, k: Any, frequencies: Any, p: dict[str, Any], style: str = "halves", start: int = 0
) -> Any:
    """Products of one head: q [rows, d] and k [keys, d] before RoPE, the last row on the last key; NaN where hidden."""
    z = np.full((len(q), len(k)), np.nan)
    for row in range(len(q)):
        i = len(k) - len(q) + row
        places = {j: at for j in range(i + 1) if (at := distance(name, i, j, **p)) is not None}
        seen, turn = list(places), np.array(list(places.values()), dtype=float)
        query = turned(np.repeat(q[row : row + 1], len(seen), 0), turn[:, 0], frequencies, style, start)
        z[row, seen] = (query * turned(k[seen], turn[:, 1], frequencies, style, start)).sum(1)
    return z
