"""Columns of decimal numbers as few bytes: 0.72727 is 72727 / 10^5, and whole numbers compress better than text."""

import lzma
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

COMMON = 6
"""Most decimals that are tried for a whole column; where they do not do, every number has a count of its own."""
MOST = 22
"""Most decimals of one number: 10^22 is the last power of ten that a float holds exactly."""
LARGEST = 2.0**53
"""Whole numbers below this are exact as floats, so that a division gives the very float that JSON gives."""
PRESET = 9 | lzma.PRESET_EXTREME
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": PRESET, "dict_size": 1 << 23, "lc": 0, "lp": 0, "pb": 0}]
"""Each byte plane on its own, without context: the neighbours of a digit say nothing about it."""


class Packed(NamedTuple):
    """A column: a plane with the decimals of each number, then planes of the numbers' bytes, the lowest first."""

    least: int
    """Smallest of the whole numbers, which is taken from all of them."""
    planes: list[bytes]
    """Compressed; each has a byte for each number."""


def pack_column(column: Sequence[float]) -> Packed | None:
    """Pack floats so that `unpack_column` gives the same ones, bit by bit; None where that cannot be done."""
    values = np.asarray(column, dtype=np.float64)
    if not len(values) or np.abs(values).max() >= LARGEST or (np.signbit(values) & (values == 0)).any():
        return None  # also a zero with a sign, which a whole number does not have
    if (found := _as_fractions(values)) is None:
        return None
    whole, decimals = found
    least = int(whole.min())
    size = (int(whole.max()) - least).bit_length() + 7 >> 3
    planes = [decimals, *((whole - least) >> 8 * i & 255 for i in range(size))]
    packed = Packed(least, [_compressed(plane.astype(np.uint8).tobytes()) for plane in planes])
    return packed if unpack_column(packed) == values.tolist() else None


def unpack_column(packed: Packed) -> list[float]:
    """Return the floats that `pack_column` was given."""
    decimals, *planes = (np.frombuffer(_plain(plane), dtype=np.uint8).astype(np.int64) for plane in packed.planes)
    whole = np.full(len(decimals), packed.least, dtype=np.int64)
    for i, plane in enumerate(planes):
        whole += plane << 8 * i
    numbers: list[float] = (whole / 10.0**decimals).tolist()
    return numbers


def _as_fractions(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]] | None:
    """Return whole numbers and decimals with values = whole / 10^decimals exactly; None where there are none."""
    whole = np.zeros(len(values), dtype=np.int64)
    decimals = np.full(len(values), -1)
    for d in range(MOST + 1):
        scaled = np.rint(values * 10.0**d)
        exact = (np.abs(scaled) < LARGEST) & (scaled / 10.0**d == values)
        if d <= COMMON and exact.all():
            return scaled.astype(np.int64), np.full(len(values), d)
        new = exact & (decimals < 0)
        whole[new], decimals[new] = scaled[new].astype(np.int64), d
        if d >= COMMON and (decimals >= 0).all():
            return whole, decimals
    return None


def _compressed(content: bytes) -> bytes:
    return lzma.compress(content, format=lzma.FORMAT_RAW, filters=FILTERS)


def _plain(content: bytes) -> bytes:
    return lzma.decompress(content, format=lzma.FORMAT_RAW, filters=FILTERS)
