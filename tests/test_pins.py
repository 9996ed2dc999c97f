"""constraints.txt names every version, so that a clean clone installs next year what it installs today."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"([\w.-]+)==([\w.]+)")
BY_TORCH = ("nvidia-", "cuda-")
"""What a build of torch for CUDA brings, in versions that it names itself."""


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [PIN.fullmatch(line) for line in lines if not line.startswith("#")]
    assert all(found), "every line must be name==version, without a build such as +cpu"
    return {canonicalize_name(pin[1]): pin[2] for pin in found if pin}


def asked() -> list[Requirement]:
    """What pyproject.toml asks for: to run, to test (with Ray), and to build."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    lines = project["project"]["dependencies"] + extras["dev"] + extras["ray"]
    return [Requirement(line) for line in [*lines, *project["build-system"]["requires"], "editables"]]


def test_every_package_that_is_installed_is_pinned() -> None:
    pinned, todo, seen = pins(), asked(), set()
    while todo:
        requirement = todo.pop()
        name = canonicalize_name(requirement.name)
        marker = requirement.marker
        if name in seen or name.startswith(BY_TORCH) or (marker and not marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        assert name in pinned, f"{name} has no line in constraints.txt"
        try:
            todo += [Requirement(line) for line in distribution(name).requires or ()]
        except PackageNotFoundError:
            continue
    assert {"torch", "transformers", "hatchling", "certifi"} <= seen


def test_the_pinned_versions_lie_in_the_ranges_of_pyproject() -> None:
    pinned = pins()
    for requirement in asked():
        specifier: SpecifierSet = requirement.specifier
        assert specifier.contains(pinned[canonicalize_name(requirement.name)]), str(requirement)
