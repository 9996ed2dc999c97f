"""One causal-LM type after another: built tiny, rewritten, and held against a dense float64 definition.

`python -m tests.rewriting.architectures` writes docs/architectures.md.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoModelForCausalLM, PreTrainedModel
from transformers.utils import logging

from ssmax_eval.attention import LSSAR, Attention, Call, Shape, SSMax
from ssmax_eval.errors import UserError
from ssmax_eval.rewriting import rewritten
from tests import tiny

SHAPE = Shape(layers=8, heads=4, train_length=64)
ATTENTIONS: dict[str, Attention] = {"ssmax": SSMax(s=0.43), "lssar": LSSAR(p=3.0)}
IDS = torch.arange(3, 27)[None]
DOCUMENT = Path(__file__).parents[2] / "docs" / "architectures.md"


@dataclass(frozen=True)
class Finding:
    """What became of one type."""

    kind: str
    layers: str = ""
    """Layers rewritten, of all."""
    extras: str = ""
    """What its calls ask for besides the plain arguments."""
    verdict: str = ""
    """For each attention, that it is verified, or why it is refused."""


def build(kind: str) -> PreTrainedModel:
    """A tiny model in float32 with weights large enough for attention to be uneven."""
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        hf = AutoModelForCausalLM.from_config(tiny.config(kind)).eval()
    hf.requires_grad_(False)
    for name, weight in hf.named_parameters():
        if weight.ndim > 1 or "sink" in name or "temp" in name:
            torch.nn.init.normal_(weight.data, std=0.2 if weight.ndim > 1 else 1.0)
    return hf


def definition(attention: Attention, call: Call) -> Tensor:
    """Output of `attention` for one call, dense and in float64: the formulas once more, on whole matrices."""
    query, key, value, visible, extras = call.query, call.key, call.value, call.visible, call.extras
    q, k, v = query.double(), *(x.double().repeat_interleave(query.shape[1] // x.shape[1], 1) for x in (key, value))
    i, j = torch.arange(visible.rows)[:, None], torch.arange(visible.keys)[None]
    seen = (j <= i + visible.keys - visible.rows)[None, None] if visible.mask is None else visible.mask
    n = seen.sum(-1, keepdim=True).double()
    dots = q @ k.transpose(-1, -2)
    if isinstance(attention, LSSAR):
        norms = q.norm(dim=-1)[..., None] * k.norm(dim=-1)[..., None, :]
        cos = dots / norms.masked_fill(norms == 0, 1.0)  # the cosine with nothing is 0
        a = torch.nn.functional.softplus(q.new_tensor(q.shape[-1]).log() * n.log() * cos) * seen
        a = (a / a.sum(-1, keepdim=True) * n - (n > 3).double()).relu() ** attention.p * seen
        total = a.sum(-1, keepdim=True)
        return (a / total.masked_fill(total == 0, 1.0)) @ v
    assert isinstance(attention, SSMax)
    z = dots * call.scaling
    if extras.softcap is not None:
        z = extras.softcap * torch.tanh(z / extras.softcap)
    if extras.bias is not None:
        z = z + extras.bias.double()
    c = float(attention.s) * n.log()  # type: ignore[arg-type]
    weights = (c * z).exp() * seen
    total = weights.sum(-1, keepdim=True)
    if extras.sink is not None:
        total = total + (c * extras.sink.double()).exp()
    return (weights / total) @ v


@contextmanager
def recorded(cls: type[Attention]) -> Iterator[list[tuple[Call, Tensor]]]:
    """Every call of `cls.forward` inside the block, with its output."""
    calls: list[tuple[Call, Tensor]] = []
    original = cls.forward

    def forward(self: Any, call: Call) -> Tensor:
        output = original(self, call)
        calls.append((call, output))
        return output

    cls.forward = forward  # type: ignore[method-assign]
    try:
        yield calls
    finally:
        cls.forward = original  # type: ignore[method-assign]


def verify(hf: PreTrainedModel, attention: Attention) -> tuple[int, set[str], float]:
    """Layers rewritten, extras asked for, and the largest error of a call, relative to the size of the values."""
    with rewritten(hf, attention, shape=SHAPE) as rewriting:
        rewriting.calls.clear()
        with recorded(type(attention)) as calls, torch.inference_mode():
            hf(input_ids=IDS, use_cache=False)
        layers = len(rewriting.calls)
    errors = [float((definition(attention, c) - o.double()).abs().max() / c.value.abs().max()) for c, o in calls]
    return layers, set().union(*(c.extras.names() for c, _ in calls)), max(errors)


def examine(kind: str) -> Finding:
    """Build one type and try every attention on it."""
    if kind in tiny.UNBUILT:
        return Finding(kind, verdict=f"not tried: {tiny.UNBUILT[kind]}")
    hf = build(kind)
    layers, extras, verdicts = "", "", {}
    for name, attention in ATTENTIONS.items():
        try:
            count, asked, error = verify(hf, attention)
        except UserError as refusal:
            verdicts[name] = f"refused: {refusal}"
            continue
        assert error < 2e-5, f"{kind} under {name} is {error:.2g} away from its definition"
        total = getattr(hf.config.get_text_config(decoder=True), "num_hidden_layers", count)
        layers, extras = f"{count} of {max(total, count)}", ", ".join(sorted(asked))
        verdicts[name] = "verified"
    return Finding(kind, layers, extras, _joined(verdicts))


def _joined(verdicts: dict[str, str]) -> str:
    if len(set(verdicts.values())) == 1:
        return next(iter(verdicts.values()))
    return "; ".join(f"{name} {verdict}" for name, verdict in verdicts.items())


def row(finding: Finding) -> str:
    """One line of the table."""
    return f"| {finding.kind} | {finding.layers} | {finding.extras} | {finding.verdict} |"


def document(findings: list[Finding]) -> str:
    """The whole page."""
    verified = sum(f.verdict == "verified" for f in findings)
    partly = sum("verified" in f.verdict for f in findings) - verified
    refused = sum(f.verdict.startswith("refused") for f in findings)
    tried = sum(not f.verdict.startswith("not tried") for f in findings)
    return f"""# Architectures

Every causal-LM type of transformers {transformers.__version__}, built tiny with random weights, rewritten to `ssmax`
and `lssar`, and either verified or refused. Generated by `python -m tests.rewriting.architectures`.

Of {len(findings)} types {verified} are verified under both, {partly} under `ssmax` alone, {refused} are refused, and
{len(findings) - tried} were not tried.

Verified means, for every attention call of a forward pass: softmax in the rewritten place gives the logits that the
model gives with its own eager attention, no row sees the future, no attention layer is passed by, and the output of
`ssmax` and of `lssar` is that of a dense float64 computation of their formulas.

| type | layers rewritten | besides q, k, v | verdict |
|---|---|---|---|
""" + "".join(row(f) + "\n" for f in findings)


if __name__ == "__main__":
    logging.set_verbosity_error()
    torch.set_num_threads(1)
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document([examine(kind) for kind in tiny.TYPES]), encoding="utf-8")
