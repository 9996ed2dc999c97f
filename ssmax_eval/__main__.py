"""`python -m ssmax_eval` is `ssmax-eval`."""

from ssmax_eval.cli import main

if __name__ == "__main__":
    main(prog_name="ssmax-eval")
