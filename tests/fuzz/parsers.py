"""Every parser, with what to give it. It may give a value, or raise a UserError or click's usage error."""

import json
import lzma
import os
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click
import yaml
from hypothesis import strategies as st

from ssmax_eval import read_results, suites
from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import rope
from ssmax_eval.cli import options
from ssmax_eval.corpus import read_texts
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Measurement, Quantity
from ssmax_eval.run.stored import _coordinates
from ssmax_eval.settings import assignments, yaml_value
from ssmax_eval.store import Store, read_runs
from ssmax_eval.store.packing import MAGIC, PACKED_FILE, VERSION, packed_records
from ssmax_eval.tasks import TASKS, Task, load
from ssmax_eval.tasks import settings as task_files
from ssmax_eval.train import recipe
from tests.conftest import tiny_config
from tests.fuzz.inputs import damaged, mutated, texts, values


class Parser(NamedTuple):
    """One parser and its inputs."""

    inputs: st.SearchStrategy[Any]
    parse: Callable[[Any], Any]
    errors: tuple[type[Exception], ...] = (UserError, click.UsageError)
    """What it may raise."""


CONTEXT, PARAMETER = click.Context(click.Command("run")), click.Option(["--lengths"])
RECORD: dict[str, Any] = {
    "cell": {"context_length": 8, "depth": 0.5, "trial": 1, "hops": 2},
    "seconds": 0.25,
    "values": {"score": 1.0, "answer": "12", "prompt": "plain"},
    "rows": {"position": {"from": 1, "to": 4}, "nll": [0.5, 1.5, 2.5, 3.5]},
}
RUN: dict[str, Any] = {
    "format": 1,
    "columns": {"checkpoint": "a", "attention": "softmax", "task": "niah", "train_length": 8, "dtype": "float32",
                "rope": ""},
    "quantities": [quantity.to_json() for quantity in TASKS["niah"].quantities],
    "notes": [],
    "identity": {"checkpoint": {"fingerprint": "0"}, "attention": {"name": "softmax"}, "task": {"kind": "niah"}},
}  # fmt: skip
SESSION = {"kind": "session", "started": "", "given": {"checkpoint": "a", "texts": [], "grid": {}}, "versions": {}}
TASK_FILE = yaml_value(task_files()["niah"].read_text(), "niah")
SUITE = {"suite": "mine", "title": "Mine", "threshold": 0.5, "tasks": {"finding": ["niah", "b.yaml"], "more": ["loss"]}}
RECIPE = yaml_value(recipe.recipes()["cpu"].read_text(), "cpu")
WITHOUT_CRC = b"".join(json.dumps({**RECORD, "cell": {"context_length": n}}).encode() + b"\n" for n in (4, 8, 16))


def in_a_file(suffix: str, read: Callable[[Path], Any]) -> Callable[[Any], Any]:
    """Return what writes its input, bytes or text, to a file, and reads that."""

    def written(content: str | bytes) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"a{suffix}"
            path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
            return read(path)

    return written


def as_yaml(content: Any) -> str:
    return yaml.dump(content, allow_unicode=True)


def store_of(files: dict[str, bytes | str]) -> None:
    """Read a store whose one run has these files, in every way that there is."""
    folder = Path(tempfile.mkdtemp())
    whole: dict[str, bytes | str] = {
        "run.json": json.dumps(RUN),
        "cells.jsonl": WITHOUT_CRC,
        "sessions.jsonl": json.dumps(SESSION) + "\n",
    }
    try:
        (folder / "run").mkdir()
        for name, content in {**whole, **files}.items():
            raw = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
            (folder / "run" / name).write_bytes(raw)
        for read in (read_runs, read_results, lambda path: Store(path).cells("run")):
            try:
                read(folder)
            except UserError:
                continue
    finally:
        shutil.rmtree(folder)


def packed(record: Any) -> bytes:
    """A packed file with a checksum that is right, whatever it holds."""
    lines = lzma.compress(json.dumps(record).encode() + b"\n")
    header = json.dumps({"records": len(lines), "columns": []}).encode()
    return signed(header + b"\n" + lines)


def signed(body: bytes) -> bytes:
    return f"{MAGIC} {VERSION} {zlib.crc32(body):08x}\n".encode() + body


def lines(record: Any) -> str:
    return json.dumps(record) + "\n"


def task_of(content: dict[str, Any]) -> Task:
    return load("niah", content)


FIELDS = sorted({*TASK_FILE, "seed", "texts", "digits", "needle", "question", "scoring", "max_new_tokens"} - {"task"})
SETTINGS = st.builds("{}={}".format, st.sampled_from(FIELDS), texts)
BODY = packed_records([RECORD]).partition(b"\n")[2]

PARSERS = {
    "numbers": Parser(texts, lambda text: options.numbers_option(CONTEXT, PARAMETER, text)),
    "lengths": Parser(texts, lambda text: options.lengths_option(CONTEXT, PARAMETER, text)),
    "batch size": Parser(texts, lambda text: options.batch_option(CONTEXT, PARAMETER, text)),
    "task names": Parser(texts, lambda text: options.names_option(CONTEXT, PARAMETER, (text,))),
    "attention": Parser(texts, parse),
    "attention with parameters": Parser(st.builds("ssmax:s={},layers={}".format, texts, texts), parse),
    "rope": Parser(texts, lambda text: rope.override(tiny_config(), 2.0, text)),
    "cell": Parser(texts, _coordinates),
    "yaml": Parser(texts, lambda text: yaml_value(text, "here")),
    "yaml bytes": Parser(damaged(as_yaml(TASK_FILE).encode()), in_a_file(".yaml", lambda path: load(str(path)))),
    "task file": Parser(mutated(TASK_FILE).map(as_yaml), in_a_file(".yaml", lambda path: load(str(path)))),
    "suite file": Parser(mutated(SUITE).map(as_yaml), in_a_file(".yaml", lambda path: suites.load(str(path)))),
    "task name": Parser(texts, load),
    "--set": Parser(st.lists(SETTINGS, max_size=3), lambda given: task_of(assignments(given))),
    "task from Python": Parser(st.dictionaries(st.sampled_from(FIELDS), values, max_size=3), task_of),
    "recipe": Parser(mutated(RECIPE).map(as_yaml), in_a_file(".yaml", lambda path: recipe.load(path, {}))),
    "text": Parser(st.binary(max_size=60), in_a_file(".txt", lambda path: read_texts([str(path)]))),
    "jsonl": Parser(mutated({"text": "a"}).map(lines), in_a_file(".jsonl", lambda path: read_texts([str(path)]))),
    "text name": Parser(texts.filter(lambda text: not os.path.isdir(text)), lambda text: read_texts([text])),
    "record": Parser(mutated(RECORD), Measurement.from_record, (ValueError,)),
    "record bytes": Parser(damaged(WITHOUT_CRC), lambda raw: store_of({"cells.jsonl": raw})),
    "records": Parser(mutated(RECORD).map(lines), lambda text: store_of({"cells.jsonl": text})),
    "quantity": Parser(
        mutated(RUN["quantities"][0]), lambda one: Quantity.from_json(one) if Quantity.is_record(one) else None
    ),
    "description": Parser(mutated(RUN).map(lines), lambda text: store_of({"run.json": text})),
    "description bytes": Parser(damaged(json.dumps(RUN).encode()), lambda raw: store_of({"run.json": raw})),
    "session": Parser(mutated(SESSION).map(lines), lambda text: store_of({"sessions.jsonl": text})),
    "packed": Parser(mutated(RECORD).map(packed), lambda raw: store_of({PACKED_FILE: raw})),
    "packed bytes": Parser(damaged(BODY).map(signed), lambda raw: store_of({PACKED_FILE: raw})),
}
