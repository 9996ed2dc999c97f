"""The card of a converted checkpoint."""

import shlex
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import NamedTuple

from ssmax_eval.attention import ATTENTIONS, Attention, describe, notes
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.files import write_whole
from ssmax_eval.positions import PositionMap
from ssmax_eval.positions import describe as describe_position


class Conversion(NamedTuple):
    """What was converted, and to what."""

    source: Checkpoint
    attention: Attention
    """With all its parameters."""
    given: str | None
    """The attention as the user wrote it; None for an object made in Python."""
    folder: Path
    kept: Collection[str]
    """Parameters of the attention that stay among the weights."""
    lost: Sequence[str]
    """Parameters of another attention that were among the weights."""
    position: PositionMap | None = None
    """The position map, with all its parameters; None: the model's own positions."""


def write_card(draft: Path, made: Conversion) -> None:
    """Write README.md: what was converted, to which attention, and how to load it."""
    source, shape, name = made.source, made.source.shape, str(made.folder)
    short = describe(made.attention)
    own = ATTENTIONS.name_of(type(made.attention)) is None
    about = type(made.attention).about if own else ATTENTIONS.about(short.partition(":")[0])
    code = "Its code lies in this folder, and runs only where you allow it. Read it first.\n\n" if own else ""
    argument, flag = (", trust_remote_code=True", " --trust-remote-code") if own else ("", "")
    lines = {
        "weights": f"those of `{source.label}`, fingerprint `{source.fingerprint}`",
        "model": f"{source.config.model_type}, {shape.layers} layers x {shape.heads} heads",
        "training length": f"{shape.train_length:,} tokens",
        "attention": f"`{short}`{': ' if about else ''}{about}",
        "its parameters": "; ".join(_parameters(made)) or "none",
        "change of RoPE": source.rope_label or "none",
        **({"position map": f"`{describe_position(made.position)}`"} if made.position is not None else {}),
    }
    plain = f"""ssmax_eval.register({argument.removeprefix(", ")})
hf = AutoModelForCausalLM.from_pretrained({name!r})  # the same model, in plain transformers
"""
    if made.position is not None:
        plain = "model.hf  # the same model, in transformers\n"
    if made.lost:
        lines["left out of the weights"] = f"{', '.join(made.lost)}, which another attention had learned"
    text = f"""# {source.label}, converted to {short}

The weights of another checkpoint with a config that names an attention. Nothing was trained further, and numbers say
what this attention makes of those weights. How they were trained, and their licence, is said where they come from.

| | |
|---|---|
{"".join(f"| {key} | {value} |{chr(10)}" for key, value in lines.items())}
## Load it

{code}```sh
ssmax-eval run {shlex.quote(name)}{flag}
```

```python
import ssmax_eval
{"" if made.position is not None else "from transformers import AutoModelForCausalLM" + chr(10)}
model = ssmax_eval.load({name!r}{argument})
{plain}```

## How it was made

{_made_by(made)}
"""
    write_whole(draft / "README.md", text)


def _parameters(made: Conversion) -> list[str]:
    """What each parameter is, in words."""
    tables = notes(made.attention)
    named = {note.partition(" ")[0] for note in tables}
    values = {f.name: getattr(made.attention, f.name) for f in fields(made.attention)}
    single = [f"{k} = {v}" for k, v in values.items() if k not in named and v is not None]
    return single + [note + (" (in the weights)" if note.partition(" ")[0] in made.kept else "") for note in tables]


def _made_by(made: Conversion) -> str:
    source = made.source
    if made.given is None:
        return f"In Python, by `ssmax_eval.convert({source.name!r}, attention, {str(made.folder)!r})`."
    words = ["ssmax-eval", "convert", source.name, "--attention", made.given]
    options = {
        "revision": source.revision, "rope": source.rope, "train-length": source.train_length,
        "rope-theta-scale": source.rope_theta_scale if source.rope_theta_scale != 1 else None,
    }  # fmt: skip
    options["position"] = None if made.position is None else describe_position(made.position)
    for option, value in options.items():
        words += [f"--{option}", str(value)] if value is not None else []
    words += ["--trust-remote-code"] * source.trust_remote_code + ["--allow-pickle"] * source.allow_pickle
    return f"```sh\n{shlex.join([*words, '-o', str(made.folder)])}\n```"
