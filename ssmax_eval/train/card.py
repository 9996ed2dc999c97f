"""The model card of a trained checkpoint."""

import json
import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml

from ssmax_eval.files import write_whole
from ssmax_eval.tasks.trained import WORDS, options_for
from ssmax_eval.train.recipe import Recipe


def write_card(folder: Path, record: dict[str, Any], recipe: Recipe, rows: list[dict[str, Any]]) -> None:
    """Write README.md (what this is, how it was made, how well it learned) and training.jsonl beside the weights."""
    write_whole(folder / "training.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    text = f"""# A small language model trained with {record["attention"]}

A Llama of {recipe.layers} layers, {recipe.heads} heads and width {recipe.width} ({record["parameters"]:,} weights),
trained on sequences of {recipe.train_length} tokens: text, numbers hidden in text with questions about them, and
tables of numbers to look up. It was made to compare attentions on, and is good for nothing else.

## Run it

```sh
{_command(folder, recipe, record)}
```

This runs the attention that it was trained with, which its config names. {_words(recipe)}

`{_call("ssmax_eval.load", repr(str(folder)), record)}` loads it in Python, and plain transformers does after
`{_call("ssmax_eval.register", "", record)}`.{_code(record)}

## How it was made

```sh
{record["command"]}
```

| | |
|---|---|
| attention | {record["attention"]} |
| started from | {record["start"] or f"weights drawn from seed {recipe.seed}"} |
| steps | {recipe.start_step} to {record["step"]} of {recipe.steps} |
| seed | {recipe.seed} |
| texts | {", ".join(record["texts"][:12])}{" ..." if len(record["texts"]) > 12 else ""} |
| tokens of text | {record["tokens"]:,} |
| data and tokenizer | {record["data"]} (digest) |
| time | {record["seconds"]:.0f} s on {record["device"]}, {record["threads"]} threads |
| versions | {", ".join(f"{name} {version}" for name, version in record["versions"].items())} |

{_reached(rows)}

The recipe:

```yaml
{yaml.safe_dump(json.loads(json.dumps(asdict(recipe))), sort_keys=False).strip()}
```
"""
    write_whole(folder / "README.md", text)


def _command(folder: Path, recipe: Recipe, record: dict[str, Any]) -> str:
    """The command that evaluates a checkpoint in the words that it was trained on."""
    words = {name: getattr(recipe, name) for name in WORDS} if recipe.needle_sequences else {}
    options = [options_for(words)] * bool(words) + ["--trust-remote-code"] * ("code" in record)
    return " ".join(["ssmax-eval run", shlex.quote(str(folder)), *options])


def _words(recipe: Recipe) -> str:
    if not recipe.needle_sequences:
        return "It was trained on no needles."
    return "The needles have\nthe words that it was trained on; of others it may find none. `--trials 1` is quicker."


def _call(function: str, argument: str, record: dict[str, Any]) -> str:
    arguments = [argument] * bool(argument) + ["trust_remote_code=True"] * ("code" in record)
    return f"{function}({', '.join(arguments)})"


def _code(record: dict[str, Any]) -> str:
    return " The code of its attention lies in this folder; read it before you run it." if "code" in record else ""


def _reached(rows: list[dict[str, Any]]) -> str:
    """Return the end of the loss curve in words."""
    if not rows:
        return "Too few steps for a loss curve."
    last = rows[-1]
    names = {"loss": "training loss", "loss_text": "on plain text", "loss_answer": "on the digits of answers"}
    losses = ", ".join(f"{name} {last[key]:.3f}" for key, name in names.items() if key in last)
    right = f"; {last['right']:.1%} of those digits right" if "right" in last else ""
    return f"At the end (nats per token): {losses}{right}. The whole curve is in `training.jsonl`."
