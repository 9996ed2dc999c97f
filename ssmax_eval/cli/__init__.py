"""The command line: a command a file, its options in `options`."""

from ssmax_eval.cli.main import main

__all__ = ["main"]
