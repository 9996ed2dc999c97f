"""Texts as users bring them: what is read is what the file says, or the line is named."""

import json
import os
from pathlib import Path

import pytest

from ssmax_eval.corpus import digest, read_texts
from ssmax_eval.errors import UserError


def written(folder: Path, content: str) -> str:
    path = folder / "lines.jsonl"
    path.write_bytes(content.encode())
    return str(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": null}', 'line 2, must have a string as its "text"; got null'),
        ('{"text": 5}', 'line 2, must have a string as its "text"; got 5'),
        ('{"text": ["a"]}', "line 2, must have a string"),
        ('{"txt": "a"}', 'line 2, must be a JSON object with a "text"'),
        ("[]", "line 2, must be a JSON object"),
        ("[" * 100_000, "line 2, must be a JSON object"),
        ('{"text": "\\ud800"}', "line 2, holds half of a character"),
    ],
)
def test_a_line_without_a_text_is_named(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_texts([written(tmp_path, f'{{"text": "fine"}}\n{line}\n')])


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_only_a_line_feed_ends_a_line(tmp_path: Path, separator: str) -> None:
    text = f"one{separator}two"
    lines = [json.dumps({"text": text}, ensure_ascii=ord(separator) < 32), "", json.dumps({"text": "three"})]
    found = read_texts([written(tmp_path, "\n".join(lines))])
    assert [(one.name, one.content) for one in found] == [("lines:1", text), ("lines:3", "three")]
    assert digest(found) != digest(found[:1])


def test_windows_line_ends_are_read(tmp_path: Path) -> None:
    assert [one.content for one in read_texts([written(tmp_path, '{"text": "a"}\r\n{"text": "b"}\r\n')])] == ["a", "b"]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is empty"):
        read_texts([written(tmp_path, "\n\n")])


def test_a_pipe_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(UserError, match="is not a file"):
        read_texts([str(tmp_path / "pipe.txt")])
