"""Which documents are fitted on, and which are held out.

Both are documents of the `loss` task. Those that it reads first are held out: `ssmax-eval run --task loss` with the
same text, length and number of documents measures these very documents. Those that come after are fitted on, each cut
into as many pieces as it gives.
"""

import random
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.tasks.loss import Loss, beginning
from ssmax_eval.train.calibration.settings import Calibration

RULE = "documents of the loss task: the first ones are held out, those after them are fitted on"


def held_out(asked: Calibration) -> Loss:
    """Return the task that measures the held-out documents."""
    return Loss(lengths=(asked.measured_length,), documents=asked.held_out, texts=asked.texts)


def pieces(asked: Calibration, tokenizer: Any, wanted: int) -> list[list[int]]:
    """Return up to `wanted` documents to fit on, as tokens. UserError where the text gives none beside the held-out."""
    task, length = held_out(asked), asked.length
    begin = beginning(tokenizer) if asked.texts else []
    body = length - len(begin)
    if body < 1:
        raise UserError(f"lengths must be beyond the {len(begin)} special tokens of a text; given {length}")
    of_each = (asked.measured_length - len(begin)) // body
    documents = task.up_to(tokenizer, asked.measured_length, asked.held_out + -(-wanted // of_each))
    found: list[list[int]] = []
    for document in documents[asked.held_out :]:
        ids = document.ids[len(begin) :]
        found += [begin + ids[i * body : (i + 1) * body] for i in range(of_each)]
    if not found:
        raise UserError(
            f"the text gives {len(documents)} documents of {asked.measured_length} tokens; {asked.held_out} are held "
            "out, so none is left to fit on: give a longer --text, shorter --lengths or a smaller --held-out"
        )
    return found[:wanted]


def order(count: int, wanted: int, seed: int) -> list[int]:
    """Return `wanted` numbers below `count`: every one once in an order drawn from the seed, then again."""
    draw, found = random.Random(seed), list[int]()
    while len(found) < wanted:
        turn = list(range(count))
        draw.shuffle(turn)
        found += turn
    return found[:wanted]
