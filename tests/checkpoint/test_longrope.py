"""LongRoPE's lists from a file: angles are divided by them, by the length of the text or for all texts."""

import json
from pathlib import Path

import pytest
import torch

from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.rope import length_dependent
from ssmax_eval.errors import UserError
from tests.checkpoint.test_rope import saved

IDS = torch.arange(3, 90)[None]


def test_frequencies_are_divided_by_the_lists(tmp_path: Path) -> None:
    name, file = saved("llama", tmp_path / "tiny"), tmp_path / "lists.json"
    plain = Checkpoint(name).load().model.rotary_emb.inv_freq
    lists = {"short_factor": [1.0, 1.0, 1.5, 2.0], "long_factor": [1.0, 2.0, 3.0, 4.0]}
    file.write_text(json.dumps({"rope_scaling": {"type": "longrope", **lists}}))
    source = Checkpoint(name, rope=f"longrope:factor=4,attention_factor=1,file={file}")
    rotary = source.load().model.rotary_emb
    for length, factors in ((40, "short_factor"), (87, "long_factor")):
        with torch.no_grad():
            rotary(torch.zeros(1), position_ids=torch.arange(length)[None])
        torch.testing.assert_close(rotary.inv_freq, plain / torch.tensor(lists[factors]))
    assert length_dependent(source.config)
    before = source.identity()
    file.write_text(json.dumps(lists["long_factor"]))
    for_all = Checkpoint(name, rope=f"longrope:factor=4,file={file}")
    assert not length_dependent(for_all.config)
    assert for_all.identity()["rope_lists"] != before["rope_lists"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "2 numbers; this checkpoint has 4"),
        ("{}", "must hold 'short_factor'"),
        ("[0, 1]", "above 0"),
        ("x", "cannot read"),
    ],
)
def test_lists_that_do_not_fit_are_refused(content: str, message: str, tmp_path: Path) -> None:
    name, file = saved("llama", tmp_path / "tiny"), tmp_path / "lists.json"
    file.write_text(content)
    with pytest.raises(UserError, match=message):
        _ = Checkpoint(name, rope=f"longrope:factor=4,file={file}").config
