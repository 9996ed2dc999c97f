"""Every command explains itself: each option says what it does, and each command shows how it is typed."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from ssmax_eval.cli.main import main
from tests.documents import parse

COMMANDS: dict[str, click.Command] = {"ssmax-eval": main, **main.commands}


def examples(command: click.Command) -> list[str]:
    """The lines of a command's help that are to be typed."""
    lines = [line.split("Example:")[-1].strip() for line in (command.help or "").splitlines()]
    return [line for line in lines if line.startswith("ssmax-eval ")]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_says_what_it_does(name: str) -> None:
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    assert [option.opts for option in options if not (option.help or "").strip()] == []


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_one_line_about_it_and_an_example_that_parses(name: str) -> None:
    command = COMMANDS[name]
    assert command.get_short_help_str(200).endswith((".", "?", ")"))
    assert examples(command)
    for line in examples(command):
        parse(line)


@pytest.mark.parametrize("line", ["ssmax-eval bench", "ssmax-eval run", "ssmax-eval run model --lenghts 3"])
def test_a_line_that_would_be_refused_does_not_parse(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse(line)


def test_help_names_every_command() -> None:
    shown = CliRunner().invoke(main, ["--help"]).stdout
    assert all(name in shown for name in main.commands)


def test_python_dash_m_is_the_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "ssmax_eval", "--help"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("Usage: ssmax-eval ")
