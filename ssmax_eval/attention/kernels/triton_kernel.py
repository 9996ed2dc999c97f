"""The Triton kernel of `fused`: LSSA and LSSAR of a block of rows, without their scores ever leaving it.

A program takes M rows of one head and goes over the keys twice: for the sum and the largest entry of every row, then
for the re-weighted output. LSSA needs the second round alone. Scores and softplus are in units of ln 2, which the
division by the sum undoes.
"""

import triton
import triton.language as tl


@triton.jit
def _softplus(x):
    """log2(1 + 2^x) as max(x, 0) + log2(1 + e), the logarithm by its Chebyshev polynomial for e in [0, 1].

    The polynomial is 3.4e-7 off at most, relatively; the processor's own logarithm of 1 + e would lose small e.
    """
    e = tl.exp2(-tl.abs(x))
    r = e * -0.012370624 + 0.0637875255
    r = r * e - 0.155599862
    r = r * e + 0.256179624
    r = r * e - 0.35345465
    r = r * e + 0.480073742
    r = r * e - 0.721310722
    r = r * e + 1.44269477
    return tl.maximum(x, 0.0) + r * e


@triton.jit
def _power(x, P: tl.constexpr):
    """x^P, P below 128, by squaring."""
    y = tl.full(x.shape, 1.0, tl.float32)
    for bit in tl.static_range(7):
        if (P >> bit) & 1:
            y *= x
        x *= x
    return y


@triton.jit
def _entries(
    q, per_row, n, K, PER_KEY, k_step, first, keys, depth, EDGE: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr
):
    """softplus of the scores of the rows with N keys from `first` on; at the EDGE, 0 where a row does not see a key."""
    key, d = first + tl.arange(0, N), tl.arange(0, q.shape[1])
    k_at, there = K + key[None, :].to(tl.int64) * k_step + d[:, None], (d < depth)[:, None]
    if EDGE:
        k = tl.load(k_at, mask=there & (key < keys)[None, :], other=0.0)
        per_key = tl.load(PER_KEY + key, mask=key < keys, other=0.0)
    else:
        k, per_key = tl.load(k_at, mask=there, other=0.0), tl.load(PER_KEY + key)
    x = tl.dot(q, k, input_precision=PRECISION) * per_row[:, None] * per_key[None, :]
    return tl.where(key[None, :] < n[:, None], _softplus(x), 0.0) if EDGE else _softplus(x)


@triton.jit
def _sums(
    total, top, q, per_row, n, K, PER_KEY, k_step, start, stop, keys, depth,
    EDGE: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sum and largest entry of every row, over the keys from `start` to `stop`."""
    for first in range(start, stop, N):
        y = _entries(q, per_row, n, K, PER_KEY, k_step, first, keys, depth, EDGE, N, PRECISION)
        total += tl.sum(y, 1)
        top = tl.maximum(top, tl.max(y, 1))
    return total, top


@triton.jit
def _outputs(
    total, output, slope, lower, cut, q, per_row, n, K, V, PER_KEY, k_step, v_step, start, stop, keys, depth, width,
    EDGE: tl.constexpr, P: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Weights times values, and the sum of the weights, over the keys from `start` to `stop`."""
    w = tl.arange(0, output.shape[1])
    for first in range(start, stop, N):
        y = _entries(q, per_row, n, K, PER_KEY, k_step, first, keys, depth, EDGE, N, PRECISION)
        if P > 0:
            y = y * slope[:, None] - lower[:, None]
            y = _power(tl.where(y < cut[:, None], 0.0, y), P)
        total += tl.sum(y, 1)
        key = first + tl.arange(0, N)
        v_at, there = V + key[:, None].to(tl.int64) * v_step + w[None, :], (w < width)[None, :]
        v = tl.load(v_at, mask=there & (key < keys)[:, None] if EDGE else there, other=0.0)
        output += tl.dot(y.to(v.dtype), v, input_precision=PRECISION)
    return total, output


@triton.jit
def attend(
    Q, K, V, PER_ROW, PER_KEY, OUTPUT,
    q_batch, q_head, q_step, k_batch, k_head, k_step, v_batch, v_head, v_step,
    heads, grouped, rows, keys, depth, width,
    P: tl.constexpr, CUT: tl.constexpr, PRECISION: tl.constexpr,
    M: tl.constexpr, N: tl.constexpr, D: tl.constexpr, W: tl.constexpr,
):  # fmt: skip
    """M rows of one head, N keys at a time; D and W are depth and width up to a power of two."""
    block, head = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1).to(tl.int64)  # long rows first
    batch, within, group = head // heads, head % heads, head % heads // grouped
    K += batch * k_batch + group * k_head
    V += batch * v_batch + group * v_head
    PER_KEY += (batch * (heads // grouped) + group) * keys
    row, d, w = block * M + tl.arange(0, M), tl.arange(0, D), tl.arange(0, W)
    inside = row < rows
    q_at = Q + batch * q_batch + within * q_head + row[:, None].to(tl.int64) * q_step + d[None, :]
    q = tl.load(q_at, mask=inside[:, None] & (d < depth)[None, :], other=0.0)
    per_row = tl.load(PER_ROW + head * rows + row, mask=inside, other=0.0)
    n = keys - rows + 1 + row
    # Up to `whole`, every row of the block sees all keys of a tile.
    whole, stop = (keys - rows + 1 + block * M) // N * N, tl.minimum(keys, keys - rows + (block + 1) * M)

    zeros = tl.zeros((M,), tl.float32)
    slope, lower, cut = zeros, zeros, zeros
    if P > 0:
        total, top = _sums(zeros, zeros, q, per_row, n, K, PER_KEY, k_step, 0, whole, keys, depth, False, N, PRECISION)
        total, top = _sums(total, top, q, per_row, n, K, PER_KEY, k_step, whole, stop, keys, depth, True, N, PRECISION)
        o = tl.where(n > 3, 1.0, 0.0)
        most = top * (n / total) - o
        scale = 1.0 / tl.where(most < CUT, 1.0, most)  # a row with nothing above the average is cut whole
        slope, lower, cut = n / total * scale, o * scale, CUT * scale
    total, output = _outputs(
        zeros, tl.zeros((M, W), tl.float32), slope, lower, cut, q, per_row, n, K, V, PER_KEY, k_step, v_step,
        0, whole, keys, depth, width, False, P, N, PRECISION,
    )  # fmt: skip
    total, output = _outputs(
        total, output, slope, lower, cut, q, per_row, n, K, V, PER_KEY, k_step, v_step,
        whole, stop, keys, depth, width, True, P, N, PRECISION,
    )  # fmt: skip
    output /= tl.where(total == 0, 1.0, total)[:, None]
    output_at = OUTPUT + (head * rows + row[:, None]) * width + w[None, :]
    tl.store(output_at, output.to(OUTPUT.dtype.element_ty), mask=inside[:, None] & (w < width)[None, :])
