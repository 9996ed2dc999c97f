"""A whole experiment in one YAML file: `ssmax-eval run --config experiment.yaml`.

A key is the name of an option without its dashes, or `checkpoint`. What the command line gives wins over the file. Of
the tasks, each may be a mapping with fields of its own.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.files import expanded
from ssmax_eval.settings import assignments, checked, from_yaml

if TYPE_CHECKING:
    from ssmax_eval.tasks import Draft

NOT_IN_A_FILE = {"config", "help"}
FIELDS = {
    "lengths": "lengths", "depths": "depths", "trials": "trials", "documents": "documents", "texts": "text",
    "seed": "seed", "chat_template": "no-chat-template",
}  # fmt: skip
"""Fields of tasks that have an option of their own, and its name."""
TABLE = re.compile(r"(?<==)[^,=]+\.(?:json|safetensors)(?=,|$)")
"""A file of parameters in the specification of an attention."""


def chosen(ctx: click.Context, given: Mapping[str, Any], config: str | None) -> dict[str, Any]:
    """Return the options of a run: what the command line gives, then what the file `config` gives, then the defaults.

    `given` is what click made of the command line. `settings` becomes a mapping; of those in the file, each counts
    that the command line does not give. UserError for an unknown key, and for a value that its option does not take.
    """
    values = dict(given)
    values["settings"] = assignments(given["settings"])
    if config is None:
        return values
    known = {_key(parameter): parameter for parameter in ctx.command.params}
    typed = {key for key, p in known.items() if ctx.get_parameter_source(p.name or "") is ParameterSource.COMMANDLINE}
    content = _content(Path(config), known)
    shared = {field for field, key in FIELDS.items() if key in content} | set(content.get("set", {}))
    for key, value in content.items():
        if key == "set":
            kept = {name: one for name, one in value.items() if FIELDS.get(name) not in typed}
            values["settings"] = kept | values["settings"]
        elif key == "task" and key not in typed and _has_mappings(value):
            values["tasks"] = [_task(one, shared, Path(config)) for one in value]
        elif key not in typed:
            parameter = known[key]
            values[parameter.name or ""] = _value(ctx, parameter, key, value, Path(config))
    if values["checkpoint"] is None:
        raise UserError(
            f"{config!r} names no checkpoint; give `checkpoint: ...` there, or CHECKPOINT on the command line"
        )
    return values


def _key(parameter: click.Parameter) -> str:
    """The name of an option as it is typed, the first of several, or of an argument."""
    return max(parameter.opts, key=lambda name: name.startswith("--")).lstrip("-")


def _content(path: Path, known: Mapping[str, click.Parameter]) -> dict[str, Any]:
    """What the file gives, by key. A key without a value counts as not given."""
    content = from_yaml(path, "experiment")
    if not isinstance(content, dict):
        raise UserError(f"{str(path)!r} must be a mapping with a 'checkpoint', and the options of `ssmax-eval run`")
    values = {}
    for name, value in content.items():
        key = str(name).replace("_", "-")
        if key not in known or key in NOT_IN_A_FILE:
            raise unknown(f"key in {str(path)!r}:", str(name), set(known) - NOT_IN_A_FILE)
        if key == "set" and not (isinstance(value, dict | None) and all(isinstance(one, str) for one in value or {})):
            raise UserError(f"'set' in {str(path)!r} must be a mapping from fields to values; got {value!r}")
        if value is not None:
            values[key] = value
    return values


def _value(ctx: click.Context, parameter: click.Parameter, key: str, value: Any, path: Path) -> Any:
    """The value of an option, read as if it were typed."""
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(one, str | int | float) for one in several):
        raise UserError(f"{key!r} in {str(path)!r} must be a text, a number or a list of them; got {value!r}")
    texts = [_placed(key, str(one), path.parent) for one in several]
    typed: Any = texts
    if not getattr(parameter, "multiple", False):
        if len(texts) > 1 and key not in ("lengths", "depths"):
            raise UserError(f"{key!r} in {str(path)!r} takes one value; got {value!r}")
        typed = ",".join(texts)
    try:
        return parameter.process_value(ctx, typed)
    except click.UsageError as error:
        raise UserError(f"{key!r} in {str(path)!r}: {error.message}") from None


def _has_mappings(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict) for one in value)


def _task(given: Any, shared: Collection[str], path: Path) -> "str | Draft":
    """A task or a suite by its name, or a task with fields of its own: `{task: niah, lengths: [512]}`.

    UserError for a field that the file gives to all tasks as well: `shared`.
    """
    from ssmax_eval.tasks import Draft, draft

    own = dict(given) if isinstance(given, dict) else {"task": given}
    name = own.pop("task", None)
    if not isinstance(name, str):
        raise UserError(f"each task in {str(path)!r} must be a name, or a mapping with a 'task'; got {given!r}")
    placed = _placed("task", name, path.parent)
    if not own:
        return placed
    begun = draft(placed)
    if twice := sorted(set(own) & set(shared)):
        raise UserError(f"{str(path)!r} gives {twice[0]!r} to all tasks and to task {name!r}; give it once")
    if isinstance(own.get("texts"), str):
        own["texts"] = [own["texts"]]
    if isinstance(own.get("texts"), list):
        own["texts"] = [_beside(path.parent, str(text)) for text in own["texts"]]
    where = f"task {name!r} of {str(path)!r}"
    return Draft(begun.cls, begun.values | checked(begun.cls, own, where), where)


def _placed(key: str, text: str, folder: Path) -> str:
    """The value with its relative paths made relative to the file's folder."""
    if key in ("text", "output"):
        return _beside(folder, text)
    if key == "checkpoint":
        is_path = text.startswith(".") or text.endswith(".gguf") or Path(text).exists() or (folder / text).exists()
        return _beside(folder, text) if is_path else text
    if key == "task":
        return ",".join(_task_place(folder, one) for one in ([text] if (folder / text).exists() else text.split(",")))
    if key in ("attention", "position"):
        file, py, rest = text.partition(".py:")
        return TABLE.sub(lambda found: _beside(folder, found[0]), f"{_beside(folder, file)}{py}{rest}" if py else text)
    return text


def _task_place(folder: Path, text: str) -> str:
    file, py, rest = text.partition(".py:")
    if py:
        return f"{_beside(folder, file)}{py}{rest}"
    return _beside(folder, text) if text.endswith((".yaml", ".yml")) else text


def _beside(folder: Path, path: str) -> str:
    return str(folder / expanded(path))
