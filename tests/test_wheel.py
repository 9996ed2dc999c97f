"""The wheel alone, as a user gets it: built, installed without extras beside its dependencies and nothing else."""

import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

import pytest

from ssmax_eval import read_results

ROOT = Path(__file__).parents[1]
REQUIREMENT = re.compile(r"[\w.-]+")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment that holds the wheel, and links to what the wheel requires: no tests' tools, no checkout."""
    environment = tmp_path_factory.mktemp("environment") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(environment / "bin" / "python")]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    (packages,) = environment.glob("lib/python*/site-packages")
    (metadata,) = packages.glob("ssmax_eval-*.dist-info")
    for package in required(Distribution.at(metadata)).values():
        for top in {path.parts[0] for path in package.files or ()} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(Path(str(package.locate_file(top))))
    return environment


def required(package: Distribution, found: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """What a distribution requires without extras, and what that requires, as far as it is installed."""
    found = {} if found is None else found
    for line in package.requires or ():
        name = REQUIREMENT.findall(line)[0]
        if "extra ==" in line or name in found:
            continue
        try:
            found[name] = distribution(name)
        except PackageNotFoundError:
            assert ";" in line, f"{name} is required and not installed"
        else:
            required(found[name], found)
    return found


def run(environment: Path, folder: Path, *command: str) -> str:
    """Output of a program of the environment, run in a folder where no checkout is."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    program = [str(environment / "bin" / command[0]), *command[1:]]
    done = subprocess.run(program, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_package_and_its_data_alone(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"ssmax_eval"}
    held = {name.removeprefix("ssmax_eval/") for name in names}
    data = [path for path in (ROOT / "ssmax_eval").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {str(path.relative_to(ROOT / "ssmax_eval")) for path in data} <= held
    assert "py.typed" in held
    assert {f"tasks/settings/{path.name}" for path in (ROOT / "tasks").glob("*.yaml")} <= held
    assert {f"tasks/settings/suites/{path.name}" for path in (ROOT / "tasks" / "suites").glob("*.yaml")} <= held
    assert {f"train/settings/{path.name}" for path in (ROOT / "recipes").glob("*.yaml")} <= held


def test_the_environment_has_the_wheel_and_none_of_the_tools(installed: Path, tmp_path: Path) -> None:
    place = run(installed, tmp_path, "python", "-c", "import ssmax_eval; print(ssmax_eval.__file__)")
    assert Path(place.strip()).is_relative_to(installed)
    find = "from importlib.util import find_spec as f; print([n for n in ('pytest', 'pyarrow', 'study') if f(n)])"
    assert run(installed, tmp_path, "python", "-c", find).strip() == "[]"


def test_the_installed_command_lists_what_there_is(installed: Path, tmp_path: Path) -> None:
    assert "Commands:" in run(installed, tmp_path, "ssmax-eval", "--help")
    listed = run(installed, tmp_path, "ssmax-eval", "list")
    assert all(name in listed for name in ("lssar", "niah_demo", "gpu_small", "smollm2-135m"))


def test_the_installed_command_measures_and_reports(installed: Path, tiny_folder: Path, tmp_path: Path) -> None:
    small = ["--task", "loss", "--lengths", "64", "--documents", "2", "--attention", "softmax", "--attention", "ssmax"]
    run(installed, tmp_path, "ssmax-eval", "run", str(tiny_folder), *small, "-o", "runs")
    assert {name.split(":")[0] for name in read_results(tmp_path / "runs").attention} == {"softmax", "ssmax"}
    run(installed, tmp_path, "ssmax-eval", "report", "runs", "-o", "report")
    assert list((tmp_path / "report").rglob("*.png"))
