"""Recipes: what is said of a wrong one, and that the shipped ones are right."""

from pathlib import Path

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.train import load, recipes


@pytest.mark.parametrize("name", sorted(recipes()))
def test_shipped_recipes_load(name: str) -> None:
    recipe = load(name, {"seed": 4, "attention": "lssa"}, ["lr=1e-3", "learn=[]"])
    assert (recipe.seed, recipe.lr, recipe.learn, recipe.attention) == (4, 1e-3, (), "lssa")


def test_the_papers_shape() -> None:
    recipe = load("gpu", {})
    assert (recipe.layers, recipe.heads, recipe.width, recipe.train_length) == (12, 12, 768, 1024)
    assert recipe.rope_theta == 10_000


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("layer: 3", "unknown field in .*'layer'; did you mean 'layers'"),
        ("steps: many", "'steps' in .* must be a whole number; got 'many'"),
        ("heads: 5", "width must be an even multiple of heads; given 128 and 5"),
        ("start_step: 9999999", "start_step must be less than the"),
        ("questions: 7", "given 7 questions, 4 needles"),
        ("needle: nothing", "the needle must contain"),
        ("save_every: 30", "save_every must be a multiple of log_every; given 30 and 25"),
        ("keep_at: [2]", "keep_at between 0 and 1"),
        ("[", "not readable as YAML"),
    ],
)
def test_a_wrong_recipe_is_one_line(line: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(recipes()["cpu"].read_text() + f"\n{line}\n")
    with pytest.raises(UserError, match=message):
        load(str(path), {})


def test_a_recipe_that_is_not_there() -> None:
    with pytest.raises(UserError, match=r"unknown recipe 'cpuu'; did you mean 'cpu'"):
        load("cpuu", {})
    with pytest.raises(UserError, match=r"cannot read recipe 'none\.yaml'"):
        load("none.yaml", {})
    with pytest.raises(UserError, match="--set takes FIELD=VALUE; given 'steps'"):
        load("cpu", {}, ["steps"])
