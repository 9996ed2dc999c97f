"""What decided the numbers of a run, in so far as runs that are called alike differ in it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

SHORT = 24
"""Characters of a value that a name spells out."""
MANY = 3
"""Fields that a name spells out."""
WORDS = {"fingerprint": "weights", "texts": "texts"}
"""Fields whose value is a digest, in the words of a person."""
UNNAMED = {"engine": "transformers"}
"""What a field is in identities that do not name it."""
SAID = {"dtype", "rope_theta_scale", "rope"}
"""Fields of a checkpoint's identity that the columns of the results say."""

Fields = dict[str, Any]


def identity_of(frame: pd.DataFrame, run: str, part: str) -> Fields:
    """Return what the identity of a run says of its `checkpoint`, `attention` or `task`; empty where it is lost."""
    text = frame.attrs.get("identities", {}).get(run)
    found = json.loads(text) if text else {}
    fields = found.get(part, {}) if isinstance(found, dict) else {}
    return dict(_flat(fields)) if isinstance(fields, dict) else {}


def settings(frame: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """Return for each of `runs` what tells it from others that are called alike, as `digits 4`; mostly "".

    `runs` has the run's name as index, and the columns `checkpoint`, `attention`, `dtype`, `rope` and `task`. Runs of
    one checkpoint and attention differ by the weights or by a parameter that the label does not spell out; runs of
    one task by its settings. The grid is in no identity, so a grid that grows stays one series.
    """
    known = frame.attrs.get("identities", {})
    if not known:
        return [""] * len(runs)
    sources = _sources(frame)
    about = ["checkpoint", "attention", "dtype", "rope"]
    said = pd.Series("", index=runs.index)
    for _, group in runs.groupby(about, sort=False):
        models = {
            run: {**_unsaid(identity_of(frame, run, "checkpoint")), **identity_of(frame, run, "attention")}
            for run in group.index
        }
        said.update(pd.Series(_differences(models, sources)))
    tasks = pd.Series("", index=runs.index)
    for _, group in runs.groupby("task", sort=False):
        asked = {run: identity_of(frame, run, "task") for run in group.index}
        tasks.update(pd.Series(_differences(asked, sources)))
    together = tasks.copy()
    for _, alike in tasks.groupby([runs[name] for name in about] + [said], sort=False):
        # A series whose runs agree keeps its tasks together.
        told = set(alike) - {""}
        if len(told) == 1:
            together.update(pd.Series(told.pop(), index=alike.index))
    of_checkpoint = [runs[name] for name in about if name != "attention"]
    for _, alike in together.groupby([runs["task"], tasks, *of_checkpoint], sort=False):
        # But attentions that were asked the same in a task can still be compared there.
        if alike.nunique() == 1:
            tasks.update(alike)
    return [" · ".join(filter(None, both)) for both in zip(said, tasks, strict=True)]


def agree(frame: pd.DataFrame, runs: Iterable[str], others: Iterable[str]) -> bool:
    """Return whether runs of one task measured the same thing, as far as their identities tell: texts, seed, wording.

    The tokenizer is compared where it is on record.
    """
    mine, theirs = ([_asked(frame, run) for run in names] for names in (runs, others))
    return all(a == b for a in mine for b in theirs)


def tokenizer_of(frame: pd.DataFrame, run: str) -> str:
    """Return what is on record of a run's tokenizer; "" where nothing is."""
    fields = identity_of(frame, run, "checkpoint")
    return json.dumps({name: value for name, value in fields.items() if "tokenizer" in name}, sort_keys=True)


def _asked(frame: pd.DataFrame, run: str) -> tuple[Fields, str]:
    return identity_of(frame, run, "task"), tokenizer_of(frame, run)


def _unsaid(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name.split(".")[0] not in SAID}


def _differences(fields: Mapping[str, Fields], sources: Mapping[str, str]) -> dict[str, str]:
    """Name each run by the fields in which these runs differ; runs that differ have different names."""
    names = list(dict.fromkeys(name for each in fields.values() for name in each))
    differing = [n for n in names if len({_key(each.get(n)) for each in fields.values()}) > 1]
    found: dict[str, str] = {}
    owners: dict[str, list[str]] = {}
    for run, each in fields.items():
        parts = [_said(name, each.get(name, UNNAMED.get(name)), sources) for name in differing]
        text = ", ".join(filter(None, parts[:MANY]))
        identity = _key({name: each.get(name) for name in differing})
        mine = owners.setdefault(text, [])
        mine += [identity] * (identity not in mine)
        found[run] = text
    for run, each in fields.items():
        mine = owners[found[run]]
        if len(mine) > 1:
            number = mine.index(_key({name: each.get(name) for name in differing})) + 1
            found[run] = ", ".join(filter(None, [found[run], f"variant {number}"]))
    return found


def _said(name: str, value: Any, sources: Mapping[str, str]) -> str:
    """A field and its value in a few words; "" for a table of values."""
    last = name.rpartition(".")[2]
    word = WORDS.get(last, last.replace("_", " "))
    if isinstance(value, (list, dict)):
        return ""
    text = str(value).lower() if isinstance(value, bool) or value is None else str(value)
    if isinstance(value, float) and value.is_integer():
        text = str(int(value))
    if last == "texts" and text in sources:
        return f"{word} {sources[text]}"
    if len(text) >= 12 and set(text) <= set("0123456789abcdef"):
        text = text[:8]
    if len(text) > SHORT:
        text = f"{text[: SHORT - 1]}…"
    return f"{word} {text}" if text else f"no {word}"


def _sources(frame: pd.DataFrame) -> dict[str, str]:
    """The names of texts by their digest, where rows of the same texts say their source."""
    if "source" not in frame:
        return {}
    rows = frame.loc[frame["source"].notna(), ["run", "source"]].drop_duplicates().astype("str")
    found: dict[str, set[str]] = {}
    for run, source in rows.itertuples(index=False):
        digest = identity_of(frame, run, "task").get("texts")
        found.setdefault(str(digest), set()).add(source)
    said = {digest: " and ".join(sorted(names)) for digest, names in found.items()}
    # Two collections may begin with the same texts.
    return {d: text for d, text in said.items() if len(text) <= SHORT and list(said.values()).count(text) == 1}


def _flat(fields: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _key(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
