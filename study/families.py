"""Families of checkpoints, as `families.yaml` lists them: the seeds of one training are one family."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ssmax_eval.settings import from_yaml
from study.data import entry, mappings

FILE = Path(__file__).with_name("families.yaml")
PLAIN, RAISED = "plain", "base x 50"
"""The RoPEs that the checkpoints were evaluated with, in the words of claims.yaml."""
ROPES = {PLAIN: "plain RoPE", RAISED: "RoPE base × 50"}
"""The same in the words of the page."""


def rope_of(stored: str) -> str:
    """What this room calls a RoPE that the store's column `rope` names; an unknown one keeps its name."""
    return {"": PLAIN, "base x50": RAISED}.get(stored, stored)


@dataclass(frozen=True, kw_only=True)
class Family:
    """What was trained, with one seed or more."""

    name: str
    """The checkpoints are called NAME-seedN."""
    label: str
    """What the page calls it."""
    main: bool = False
    """Whether it is in the overview and in the figures of the heads."""
    aside: bool = False
    """Whether it serves one question, and is left out of the figures that show every family."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """Another way to train families, to look into claims that do not hold."""

    ending: str
    """How the names of its families end."""
    label: str
    """What the page calls it."""


@dataclass(frozen=True)
class Listed:
    """What a file lists, in its order, which is that of the page."""

    families: dict[str, Family]
    """By name."""
    studies: dict[str, Study]
    """By how the names of their families end."""

    @property
    def main(self) -> tuple[str, ...]:
        """Names of the main families."""
        return tuple(name for name, family in self.families.items() if family.main)

    @property
    def names(self) -> list[str]:
        """Every family that a claim may name, those trained in another way among them."""
        return [name + ending for ending in ("", *self.studies) for name in self.families]


def read_families(path: Path = FILE) -> Listed:
    """The families and the studies of a file. UserError, in one line, for a mistake in the file."""
    content = from_yaml(path, "families")
    families = [entry(Family, each, f"{path.name}, families") for each in mappings(content, "families", path.name)]
    studies = [entry(Study, each, f"{path.name}, studies") for each in mappings(content, "studies", path.name)]
    return Listed({family.name: family for family in families}, {study.ending: study for study in studies})


@cache
def listed() -> Listed:
    """What families.yaml lists."""
    return read_families()


def study_of(family: str) -> str:
    """How the name of a family trained in another way ends; "" for the others."""
    return next((ending for ending in listed().studies if family.endswith(ending)), "")


def is_aside(family: str) -> bool:
    """Whether a family is left out of the figures that show every family."""
    ending = study_of(family)
    known = listed().families.get(family.removesuffix(ending))
    return ending != "" or (known is not None and known.aside)


def label(family: str) -> str:
    """What a family is called on the page; an unknown one keeps its name."""
    ending = study_of(family)
    name = family.removesuffix(ending)
    known = listed().families.get(name)
    return (known.label if known else name) + (f", {listed().studies[ending].label}" if ending else "")


def ordered(families: Iterable[str]) -> list[str]:
    """Distinct families in the page's order: the known, the unknown, and last those trained in another way."""
    names, endings = list(listed().families), ["", *listed().studies]

    def place(family: str) -> tuple[int, int, str]:
        ending = study_of(family)
        name = family.removesuffix(ending)
        return endings.index(ending), names.index(name) if name in names else len(names), family

    return sorted(set(families), key=place)
