"""The position maps that a model can run under, by name: one line each. Importing this imports no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ssmax_eval.catalogue import Catalogue

if TYPE_CHECKING:
    from ssmax_eval.positions.base import PositionMap

ROOM = "ssmax_eval.positions"

POSITIONS: Catalogue[PositionMap] = Catalogue(
    {
        "rerope": (f"{ROOM}.rerope:ReRoPE", "min(d, window), Su 2023"),
        "leaky_rerope": (f"{ROOM}.rerope:LeakyReRoPE", "d, and window + (d - window) / k beyond the window, Su 2023"),
        "self_extend": (
            f"{ROOM}.self_extend:SelfExtend",
            "d within the window, floors of i / group and j / group beyond, arXiv 2401.01325",
        ),
        "dca": (f"{ROOM}.dca:DualChunk", "positions modulo a chunk, Dual Chunk Attention, arXiv 2402.17463"),
        "streaming": (f"{ROOM}.streaming:Streaming", "sinks and a window alone, StreamingLLM, arXiv 2309.17453"),
        "lm_infinite": (f"{ROOM}.lm_infinite:LMInfinite", "first keys and a window alone, d capped, arXiv 2308.16137"),
        "nope": (f"{ROOM}.nope:NoPE", "no positions: RoPE taken off, arXiv 2305.19466"),
    }
)
"""name -> class. Adding a position map is adding a line: its name, its module and class, what it is in one line."""
