"""The Triton kernel: its arithmetic in the interpreter, that it compiles for GPUs, and itself on one."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from ssmax_eval.attention import Call, Visible, parse
from ssmax_eval.attention.base import by_definition
from ssmax_eval.attention.kernels import fused

pytest.importorskip("triton")
SPECS = {"lssa": None, "lssar": 15, "lssar:p=3": 3, "lssar:p=1": 1, "lssar:p=64": 64}


interpreted = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") != "1", reason="the GPU itself is tested")
"""Triton kernels run as numpy, on tensors of the CPU: see conftest.py."""


def _inputs(
    rows: int, past: int, heads: int, groups: int, depth: int, width: int, **kind: Any
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rows + past)

    def draw(*shape: int) -> Tensor:
        return torch.randn(2, *shape, generator=generator).to(**kind)

    return draw(heads, rows, depth), draw(groups, rows + past, depth), draw(groups, rows + past, width)


def _exact(spec: str, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    visible = Visible(query.shape[2], key.shape[2])
    return by_definition(parse(spec), Call(query.double(), key.double(), value.double(), visible, 0.3))


SHAPES = [(1, 0, 2, 2, 16, 16), (3, 90, 2, 1, 24, 40), (70, 0, 2, 1, 16, 33), (70, 75, 1, 1, 130, 16)]
"""Rows, keys before them, query heads, key heads, depth, width of the value."""


@interpreted
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("spec", SPECS)
def test_equals_the_definition(spec: str, shape: tuple[int, int, int, int, int, int]) -> None:
    inputs = _inputs(*shape, dtype=torch.float32)
    output = fused.attend(*inputs, SPECS[spec])
    tolerance = 2e-5 * max(1, SPECS[spec] or 1) / 3
    torch.testing.assert_close(output.double(), _exact(spec, *inputs), rtol=tolerance, atol=tolerance)


@interpreted
def test_half_precision_is_rounding() -> None:
    inputs = _inputs(70, 20, 2, 1, 64, 64, dtype=torch.float16)  # the interpreter multiplies bfloat16 as whole numbers
    for spec, p in SPECS.items():
        output = fused.attend(*inputs, p)
        assert output.dtype == torch.float16
        assert float((output.double() - _exact(spec, *inputs)).abs().max()) < 8 * torch.finfo(torch.float16).eps


@interpreted
def test_the_layout_of_a_model_is_taken_as_it_is() -> None:
    query, key, value = (x.transpose(1, 2).contiguous().transpose(1, 2) for x in _inputs(40, 0, 4, 2, 16, 16))
    output = fused.attend(query, key, value, 15)
    torch.testing.assert_close(output.double(), _exact("lssar", query, key, value), rtol=1e-4, atol=1e-4)


@interpreted
def test_equal_weights_give_zeros_and_nan_stays_nan() -> None:
    zeros, value = torch.zeros(1, 1, 40, 16), torch.randn(1, 1, 40, 16)
    assert bool((fused.attend(zeros, zeros, value, 15)[:, :, 4:] == 0).all())
    torch.testing.assert_close(fused.attend(zeros, zeros, value, None)[0, 0, -1], value.mean(2)[0, 0])
    spoilt = torch.randn(1, 1, 40, 16)
    spoilt[:, :, 20] = torch.nan
    output = fused.attend(torch.randn(1, 1, 40, 16), spoilt, value, 15)
    assert bool(output[:, :, 20:].isnan().all())
    assert not bool(output[:, :, :20].isnan().any())


COMPILE = """
import sys, torch
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from ssmax_eval.attention.kernels import fused, triton_kernel

kernel, chosen = triton_kernel.attend, fused.settings(torch.bfloat16, 64, 64)
options = {name: chosen.pop(name) for name in ("num_warps", "num_stages")}
fixed = {**chosen, "P": 15, "CUT": 1.9e-6}
kinds = {name: "constexpr" if name in fixed else "i32" for name in kernel.arg_names}
kinds |= dict.fromkeys(["Q", "K", "V", "OUTPUT"], "*bf16") | dict.fromkeys(["PER_ROW", "PER_KEY"], "*fp32")
for capability in (80, 90):
    made = compile(ASTSource(kernel, kinds, fixed), target=GPUTarget("cuda", capability, 32), options=options)
    print(capability, made.metadata.shared, "mma" in made.asm["ptx"], len(made.asm["cubin"]) > 0)
"""


@pytest.mark.slow
def test_compiles_for_gpus_without_having_one(tmp_path: object) -> None:
    """For compute capability 8.0 and 9.0, down to machine code, by the assembler that comes with Triton."""
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path), "TRITON_DEFAULT_FP_FUSION": "1"}
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    for line in done.stdout.splitlines():
        _, shared, tensor_cores, assembled = line.split()
        assert int(shared) < 99 * 1024  # what the smallest of these GPUs gives a block
        assert tensor_cores == assembled == "True"


def test_the_cpu_and_learning_go_other_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "attend", None)
    inputs = [x.requires_grad_() for x in _inputs(130, 0, 2, 2, 16, 16)]
    call = Call(inputs[0], inputs[1], inputs[2], Visible(130, 130), 0.3)
    torch.autograd.grad(parse("lssar").forward(call).sum(), inputs)
    with torch.no_grad():
        parse("lssar").forward(call)


@interpreted
def test_attentions_that_name_the_kernel_go_there_with_their_power(monkeypatch: pytest.MonkeyPatch) -> None:
    powers, attend = list[float | None](), fused.attend

    def counted(query: Tensor, key: Tensor, value: Tensor, p: float | None) -> Tensor:
        powers.append(p)
        return attend(query, key, value, p)

    monkeypatch.setattr(fused, "attend", counted)
    monkeypatch.setattr(fused, "takes", lambda call, p: True)
    query, key, value = _inputs(40, 5, 2, 1, 16, 16)
    for spec in ("lssa", "lssar", "lssar:p=3", "lssa:qk_norm=false", "lssar:qk_norm=false", "softmax_reweighted:p=3"):
        output = parse(spec).forward(Call(query, key, value, Visible(40, 45), 0.3))
        torch.testing.assert_close(output.double(), _exact(spec, query, key, value), rtol=1e-4, atol=1e-4)
    assert powers == [None, 15.0, 3.0]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("spec", SPECS)
def test_on_a_gpu(spec: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    called, attend = list[torch.dtype](), fused.attend

    def counted(query: Tensor, key: Tensor, value: Tensor, p: float | None) -> Tensor:
        called.append(query.dtype)
        return attend(query, key, value, p)

    monkeypatch.setattr(fused, "attend", counted)
    for depth, width in ((64, 64), (128, 128), (80, 80), (256, 256)):
        query, key, value = _inputs(500, 300, 4, 2, depth, width, dtype=dtype, device="cuda")
        output = parse(spec).forward(Call(query, key, value, Visible(500, 800), 0.3))
        tolerance = 8 * torch.finfo(dtype).eps if dtype != torch.float32 else 1e-4
        assert float((output.double() - _exact(spec, query, key, value)).abs().max()) < tolerance * 4
    assert called == [dtype] * 4
