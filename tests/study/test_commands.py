"""Commands are listed once, whatever the seed."""

from study.commands import Commands

TRAIN = "ssmax-eval train cpu -o checkpoints/ssmax-seed{0} --attention ssmax --seed {0}"
RUN = "ssmax-eval run checkpoints/ssmax-seed{0} --task niah --seed 0"


def test_seeds_are_one_loop() -> None:
    commands = Commands()
    assert commands.numbers([TRAIN.format(2), TRAIN.format(0)]) == [1]
    assert commands.numbers([RUN.format(0), RUN.format(1)]) == [2]
    assert commands.numbers([TRAIN.format(1), RUN.format(1)]) == [1, 2]
    assert commands.markdown().splitlines() == [
        f"1. `for seed in 0 1 2; do {TRAIN.format('$seed')}; done`",
        # The seed of an evaluation is its own.
        f"2. `for seed in 0 1; do {RUN.format('$seed')}; done`",
    ]


def test_one_seed_is_as_it_was_typed() -> None:
    commands = Commands()
    assert commands.numbers([RUN.format(3), "ssmax-eval run org/model"]) == [1, 2]
    assert commands.markdown().splitlines() == [f"1. `{RUN.format(3)}`", "2. `ssmax-eval run org/model`"]
