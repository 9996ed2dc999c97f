"""Names and parameters, as the command line gives them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ssmax_eval.attention import ATTENTIONS, Attention, Shape, describe, notes, parse
from ssmax_eval.attention.lssa import LSSAR
from ssmax_eval.attention.per_n import PerN
from ssmax_eval.attention.ssmax import SSMax, default_s
from ssmax_eval.errors import UserError

SHAPE = Shape(layers=2, heads=3, train_length=1024)


def test_parameters_are_read_by_their_type() -> None:
    assert parse("ssmax:s=0.168,b=1") == SSMax(s=0.168, b=1.0)
    assert parse("lssar:p=3,qk_norm=FALSE") == LSSAR(p=3.0, qk_norm=False)


def test_the_catalogue_is_read_without_torch() -> None:
    code = (
        "import sys; from ssmax_eval.attention import ATTENTIONS, catalogue; assert catalogue.ATTENTIONS is ATTENTIONS;"
        "assert all(ATTENTIONS.about(name) for name in ATTENTIONS); assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_line_of_the_catalogue_leads_to_a_class_that_knows_its_name() -> None:
    for name, cls in ATTENTIONS.items():
        assert issubclass(cls, Attention)
        assert ATTENTIONS.name_of(cls) == name
        assert describe(cls()).split(":")[0] == name


def test_notes_are_about_tables_alone() -> None:
    assert notes(parse("ssmax:s=0.2,b=0.1")) == []
    some = SSMax(s=((), (0.1125, 0.3141)), b=((0.0, 0.0), (0.5, 1.0)))
    assert describe(some) == "ssmax:s=table,b=table"
    assert notes(some) == ["s per head, 0.11 to 0.31 (1 layer x 2 heads)", "b per head, 0 to 1 (2 layers x 2 heads)"]
    assert notes(PerN(p=((0.5, 2.0, 1.0),))) == ["p per number of keys, 0.5 to 2 (1 layer x 3 numbers of keys)"]


@pytest.mark.parametrize("spec", ["softmax", "ssmax:s=0.43", "lssar:p=3", "lssar:qk_norm=false,p=15", "logn:n_train=7"])
def test_a_description_reads_back(spec: str) -> None:
    assert parse(describe(parse(spec))) == parse(spec)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("ssmaxx", "unknown attention 'ssmaxx'; did you mean 'ssmax'"),
        ("nothing", "known: adaptive_temperature, alpha_entmax"),
        ("ssmax:t=1", "unknown parameter of attention 'ssmax': 't'"),
        ("softmax:s=1", "has no parameters"),
        ("ssmax:s", "needs a value"),
        ("ssmax:s=high", "must be a number or a .json or .safetensors file; got 'high'"),
        ("lssar:qk_norm=maybe", "must be true or false; got 'maybe'"),
        ("ssmax:s=absent.json", "absent.json"),
        ("absent.py:Mine", "cannot read 'absent.py'"),
        ("ssmax_eval.errors:UserError", "must be a subclass"),
        ("ssmax_eval.errors:Missing", "must be a subclass"),
    ],
)
def test_mistakes_are_named(spec: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("(", r"\(")):
        parse(spec)


def test_s_defaults_to_the_mean_of_log_n() -> None:
    assert default_s(1024) == pytest.approx(0.16847, abs=5e-6)
    assert default_s(8192) == pytest.approx(0.12482, abs=5e-6)
    assert SSMax().resolve(SHAPE) == SSMax(s=default_s(1024), b=0.0)


def test_s_of_the_checkpoint_comes_before_the_default_and_after_the_given() -> None:
    own = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    shape = Shape(2, 3, 1024, {"s": own})
    assert SSMax().resolve(shape).s == own
    assert SSMax(s=0.5).resolve(shape).s == 0.5


def test_s_from_a_file(tmp_path: Path) -> None:
    table = ((0.5, 0.25, 1.0), (2.0, 4.0, 8.0))
    (tmp_path / "s.json").write_text(json.dumps({"s": table}))
    save_file({"s": torch.tensor(table)}, tmp_path / "s.safetensors")
    for name in ("s.json", "s.safetensors"):
        attention = parse(f"ssmax:s={tmp_path / name}")
        assert isinstance(attention, SSMax)
        assert attention.s == table
        assert describe(attention) == "ssmax:s=table"
        assert notes(attention) == ["s per head, 0.25 to 8 (2 layers x 3 heads)"]
    with pytest.raises(UserError, match="2 layers x 3 heads, but the checkpoint has 4 x 3"):
        attention.resolve(Shape(4, 3, 1024))
    with pytest.raises(UserError, match="has no 'b' in it"):
        parse(f"ssmax:b={tmp_path / 's.safetensors'}")


def test_a_class_of_the_users_own(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "from ssmax_eval.attention import Attention\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Attention):\n"
        "    t: float = 1.0\n"
        "    def weights(self, rows):\n"
        "        return rows.visible / rows.n\n"
    )
    mine = parse(f"{tmp_path / 'mine.py'}:Mine:t=2")
    assert isinstance(mine, Attention)
    assert describe(mine) == "Mine:t=2"
