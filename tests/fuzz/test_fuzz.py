"""Whatever a parser is given: it works, or says in one line what is wrong. No other error, and no waiting."""

import logging
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ssmax_eval.cli.main import main
from tests.fuzz.inputs import texts
from tests.fuzz.parsers import PARSERS

LONGEST = timedelta(seconds=10)
"""Time for one input; far more than any needs on a machine that is busy with other things."""
MANY = 20_000
"""Inputs of each parser under `-m fuzz`: about an hour in all."""
VALUED = ("--lengths", "--depths", "--trials", "--documents", "--seed", "--set", "--max-length", "--batch-size",
          "--attention", "--task", "--rope", "--rope-theta-scale", "--train-length", "--dtype",
          "--device", "--prefill-chunk")  # fmt: skip


def _how(examples: int) -> dict[str, Any]:
    """The few examples of every change are the same each time, so that a change is judged by what it did."""
    alike = examples < MANY // 4
    checks = list(HealthCheck)
    return {"max_examples": examples, "derandomize": alike, "suppress_health_check": checks, "database": None}


def explore(name: str, examples: int) -> None:
    parser = PARSERS[name]

    @settings(**_how(examples), deadline=LONGEST)
    @given(parser.inputs)
    def a_value_or_one_line(value: Any) -> None:
        with suppress(*parser.errors):
            parser.parse(value)

    logging.disable(logging.WARNING)  # a line for each damaged record
    try:
        a_value_or_one_line()
    finally:
        logging.disable(logging.NOTSET)


def explore_command(folder: Path, output: Path, examples: int) -> None:
    @settings(**_how(examples), deadline=2 * LONGEST)
    @given(st.lists(st.tuples(st.sampled_from(VALUED), texts.filter(lambda text: "\x00" not in text)), max_size=3))
    def exit_0_or_2(options: list[tuple[str, str]]) -> None:
        given_ = [part for option in options for part in option]
        result = CliRunner().invoke(main, ["run", str(folder), "--dry-run", "-o", str(output), *given_])
        assert result.exit_code in (0, 2), (given_, result.exception)
        assert result.exit_code == 0 or "Error: " in result.stderr.splitlines()[-1]

    exit_0_or_2()


@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_gives_a_value_or_one_line(name: str) -> None:
    explore(name, 60)


def test_a_command_exits_with_0_or_with_2_and_one_line(tiny_folder: Path, tmp_path: Path) -> None:
    explore_command(tiny_folder, tmp_path, 40)


@pytest.mark.fuzz
@pytest.mark.parametrize("name", PARSERS)
def test_a_parser_gives_a_value_or_one_line_for_an_hour(name: str) -> None:
    explore(name, MANY)


@pytest.mark.fuzz
def test_a_command_exits_with_0_or_with_2_for_an_hour(tiny_folder: Path, tmp_path: Path) -> None:
    explore_command(tiny_folder, tmp_path, MANY // 4)
