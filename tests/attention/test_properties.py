"""The contract holds for every attention, fails for broken ones; and n is right whatever the shapes."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ssmax_eval.attention import ATTENTIONS, Attention, Call, Extras, Rows, Shape, Visible, masked_softmax, parse
from ssmax_eval.attention.base import by_definition
from ssmax_eval.attention.contract import CLAUSES, demand, run
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "my_attention.py"
SPECS = [
    *ATTENTIONS, "ssmax:s=0.3,b=0.4", "ssmax:s=1", "lssa:qk_norm=false", "lssar:p=3", "lssar:p=3,qk_norm=false",
    "temperature:beta=0.5,f=8", "logn:n_train=8", f"{EXAMPLE}:Mine",
]  # fmt: skip
SITUATED = [
    "softmax", "ssmax:s=0.3,b=0.4", "lssa", "lssa:qk_norm=false", "lssar", "lssar:p=3", "lssar:p=3,qk_norm=false",
    "softmax_reweighted", "temperature:beta=0.5,f=8", "logn:n_train=8", "per_n", "entmax15", "topk:k=3", "softmax_n",
    "stick_breaking", f"{EXAMPLE}:Mine",
]  # fmt: skip
"""One or more of each kind: an attention without kernels runs its definition, which the contract holds it to."""
RESOLVED = {spec: parse(spec).resolve(Shape(2, 4, 64)) for spec in SITUATED}


@pytest.mark.parametrize("spec", SPECS)
def test_every_attention_keeps_the_contract(spec: str) -> None:
    assert [(title, problem) for title, problem in run(parse(spec)) if problem is not None] == []


def _broken(change: Callable[[Tensor, Tensor], Tensor]) -> Attention:
    @dataclass(frozen=True)
    class Mine(Attention):
        def weights(self, rows: Rows) -> Tensor:
            return change(rows.scores, rows.visible)

    return Mine()


def _by_keys(z: Tensor, visible: Tensor) -> Tensor:
    """n taken for the number of keys there are."""
    return masked_softmax(z * torch.log(torch.tensor(z.shape[-1] + 1.0)), visible)


def _masked_first(z: Tensor, visible: Tensor) -> Tensor:
    """log 1 = 0 erases the mask of the first row."""
    hidden = z.masked_fill(~visible, -1e9)
    return (visible.sum(-1, keepdim=True).clamp(min=1).log() * hidden).softmax(-1)


def _overflowing(z: Tensor, visible: Tensor) -> Tensor:
    """Exponentials without the row's largest taken off: fine in float64 alone."""
    e = (90.0 * z).exp() * visible
    return e / e.sum(-1, keepdim=True).clamp(min=1e-300 if z.dtype == torch.float64 else 1e-37)


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        (_by_keys, "decoding and chunks"),
        (_masked_first, "finite weights and none unseen"),
        (lambda z, visible: z.softmax(-1), "finite weights and none unseen"),
        (lambda z, visible: z.masked_fill(~visible, -torch.inf).softmax(-1), "padding"),
        (_overflowing, "half precision"),
        (lambda z, visible: masked_softmax(z, visible)[..., :-1], "shape"),
        (lambda z, visible: z.view(3), "raised RuntimeError"),
    ],
)
def test_a_broken_attention_is_found_out(change: Callable[[Tensor, Tensor], Tensor], clause: str) -> None:
    findings = [f"{title}: {problem}" for title, problem in run(_broken(change)) if problem is not None]
    assert any(clause in finding for finding in findings), findings
    with pytest.raises(UserError, match="breaks the contract"):
        demand(_broken(change))


class Mixed:
    """A definition of a user's own: the mean of all visible keys."""

    def weights(self, rows: Rows) -> Tensor:
        return (rows.visible / rows.n).expand_as(rows.scores)


@pytest.mark.parametrize("spec", SPECS)
def test_a_definition_of_ones_own_runs_whatever_kernel_it_is_based_on(spec: str) -> None:
    own = type(parse(spec))
    over: type[Attention] = type("Over", (own,), {"weights": Mixed.weights})
    beside: type[Attention] = type("Beside", (Mixed, own), {})
    kept: type[Attention] = type("Kept", (own,), {})
    x = torch.randn(1, 2, 200, 4, generator=torch.Generator().manual_seed(0))
    call = Call(x, x, x, Visible(200, 200), 0.5)
    means = x.cumsum(2) / torch.arange(1, 201)[:, None]
    for cls in (over, beside):
        assert cls.kernels == ()
        torch.testing.assert_close(cls().forward(call), means)
    assert kept.kernels == own.kernels


def test_the_command_line_runs_the_contract(tmp_path: Path) -> None:
    good = CliRunner().invoke(main, ["check", f"{EXAMPLE}:Mine"])
    assert (good.exit_code, good.output.count("ok  ")) == (0, len(CLAUSES))
    broken = tmp_path / "broken.py"
    broken.write_text(EXAMPLE.read_text().replace(".masked_fill(~rows.visible, 0.0)", ""))
    bad = CliRunner().invoke(main, ["check", f"{broken}:Mine"])
    assert bad.exit_code == 2
    assert "broken   finite weights and none unseen: keys that a row may not see have weight" in bad.output


def test_the_page_shows_the_example_and_the_contract() -> None:
    page = (ROOT / "docs" / "your_own_attention.md").read_text(encoding="utf-8")
    assert EXAMPLE.read_text(encoding="utf-8") in page
    shown = re.findall(r"^ok +(.+)$", page, re.MULTILINE)
    assert shown == [title for title, _ in run(parse("softmax"))]


situations = st.fixed_dictionaries(
    {
        "batch": st.integers(1, 2),
        "groups": st.sampled_from([1, 2]),
        "repeat": st.sampled_from([1, 3]),
        "past": st.integers(0, 9),
        "rows": st.integers(1, 12),
        "window": st.none() | st.integers(1, 8),
        "left": st.integers(0, 6),
        "value_width": st.sampled_from([4, 7]),
        "dtype": st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
        "extras": st.sets(st.sampled_from(["softcap", "bias", "sink"])),
        "seed": st.integers(0, 99),
    }
)


@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("spec", SITUATED)
@given(s=situations)
def test_forward_is_the_definition_in_every_situation(spec: str, s: dict) -> None:  # type: ignore[type-arg]
    """Any shapes, chunk, window, padding, dtype, and extras that the definition honours."""
    attention, generator = RESOLVED[spec], torch.Generator().manual_seed(s["seed"])
    heads, keys = s["groups"] * s["repeat"], s["past"] + s["rows"]

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator).to(s["dtype"])

    query = draw(s["batch"], heads, s["rows"], 6)
    key, value = draw(s["batch"], s["groups"], keys, 6), draw(s["batch"], s["groups"], keys, s["value_width"])
    i, j = torch.arange(s["rows"])[:, None] + s["past"], torch.arange(keys)[None]
    mask = (j <= i) & (j >= s["left"])
    if s["window"]:
        mask &= j > i - s["window"]
    plain = s["window"] is None and not s["left"]
    visible = Visible(s["rows"], keys, None if plain else mask[None, None])
    asked = s["extras"] & attention.honours
    extras = Extras(
        2.0 if "softcap" in asked else None,
        draw(1, heads, s["rows"], keys) if "bias" in asked else None,
        draw(1, heads, 1, 1) if "sink" in asked else None,
    )
    call = Call(query, key, value, visible, 0.4, extras=extras)
    output = attention.forward(call)
    exact = Extras(extras.softcap, *(None if x is None else x.double() for x in (extras.bias, extras.sink)))
    dense = Visible(s["rows"], keys, mask[None, None])
    wide = Call(query.double(), key.double(), value.double(), dense, 0.4, extras=exact)
    expected = by_definition(attention, wide)
    assert output.dtype == s["dtype"]
    tolerance = 64 * torch.finfo(s["dtype"]).eps * float(value.double().abs().max())
    assert float((output.double() - expected).abs().max()) < tolerance
    assert not output[:, :, ~mask.any(-1)].any()
