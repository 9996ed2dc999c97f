"""Chat templates that ask for today's date: every day has the same prompts, and the run says which day it was."""

import re
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.attention import parse
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.model import running
from ssmax_eval.run.identity import Run
from ssmax_eval.tasks.chat import render
from ssmax_eval.tasks.key_attention import KeyAttention
from ssmax_eval.tasks.niah import Niah
from tests.conftest import make_tokenizer, tiny_config

AFTER = "{% for m in messages %}<|user|>{{ m.content }}<|end|>{% endfor %}<|assistant|>"
TEMPLATES = {
    "a default": "{% if not date_string is defined %}{% if strftime_now is defined %}"
    "{% set date_string = strftime_now('%d %b %Y') %}{% else %}{% set date_string = '26 Jul 2024' %}{% endif %}"
    "{% endif %}Today Date: {{ date_string }}\n" + AFTER,
    "a call": "Today: {{ strftime_now('%d %b %Y') }}\n" + AFTER,
    "a macro": "{% macro head() %}Today: {{ strftime_now('%d %b %Y') }}{% endmacro %}{{ head() }}\n" + AFTER,
    "two ways": "{{ strftime_now('%Y') }}-{{ strftime_now(format='%m') }}: {{ strftime_now('%d %b %Y') }}\n" + AFTER,
    "a new line first": "\n{% set now = strftime_now('%d %b %Y') %}: {{ now }}\n" + AFTER,
}
SILENT = {
    "never asks": AFTER,
    "asks for tools only": "{% if tools %}{{ strftime_now('%Y') }}{% endif %}" + AFTER,
    "its own date": "{% set date_string = date_string or '26 Jul 2024' %}{{ date_string }}" + AFTER,
}


def tokenizer_with(template: str) -> Any:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_date_is_fixed(name: str) -> None:
    text, dated = render(tokenizer_with(TEMPLATES[name]), "BODY")
    assert dated
    assert text.lstrip("\n").splitlines()[0].endswith(": 01 Jan 2024")
    message = [{"role": "user", "content": "BODY"}]
    today = tokenizer_with(TEMPLATES[name]).apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert text.partition(":")[2].replace("01 Jan 2024", "") == re.sub(r"\d\d \w+ \d{4}", "", today.partition(":")[2])
    assert text.startswith("\n") == today.startswith("\n")


@pytest.mark.parametrize("name", SILENT)
def test_a_template_that_does_not_ask_is_rendered_as_transformers_does(name: str) -> None:
    tokenizer = tokenizer_with(SILENT[name])
    message = [{"role": "user", "content": "BODY"}]
    plain = tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
    assert render(tokenizer, "BODY") == (plain, False)


def test_a_template_that_fails_is_one_line() -> None:
    with pytest.raises(UserError, match=r"fails; try --no-chat-template \(TemplateError: no users\)"):
        render(tokenizer_with("{{ raise_exception('no users') }}"), "BODY")


@pytest.mark.parametrize("kind", [Niah, KeyAttention])
def test_the_date_is_in_the_identity_and_in_the_values(tmp_path: Path, kind: Any) -> None:
    import torch
    from transformers import LlamaForCausalLM

    torch.manual_seed(0)
    LlamaForCausalLM(tiny_config()).save_pretrained(tmp_path)
    task = kind(lengths=(300,), depths=(0.5,), trials=1)
    plain = kind(lengths=(300,), depths=(0.5,), trials=1, chat_template=False)
    tokenizer_with(AFTER).save_pretrained(tmp_path)
    without = Checkpoint(str(tmp_path))
    softmax = parse("softmax").resolve(without.shape)
    assert Run(without, softmax, task).identity["task"] == task.identity()
    tokenizer_with(TEMPLATES["a default"]).save_pretrained(tmp_path)
    dated = Checkpoint(str(tmp_path))
    assert Run(dated, softmax, task).identity["task"] == {**task.identity(), "date": "2024-01-01"}
    assert Run(dated, softmax, plain).identity["task"] == plain.identity()
    with running(dated, dated.load(), softmax) as model:
        (found,) = task.bind(model)([Cell(300, depth=0.5, trial=0)])
        (other,) = plain.bind(model)([Cell(300, depth=0.5, trial=0)])
    assert found.values["date"] == "2024-01-01"
    assert "date" not in other.values
    assert "Today Date: 01 Jan 2024" in task.prompt(found.cell, dated.tokenizer)
