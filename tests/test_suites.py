"""Suites: what their files may hold, and the tasks that a command makes of them."""

from pathlib import Path

import pytest

from ssmax_eval import suites, tasks
from ssmax_eval.errors import UserError
from ssmax_eval.run.choosing import choose
from ssmax_eval.tasks.niah import Niah

OTHER = "task: niah\npreset: short_digits\nlengths: [128, 512]\ndigits: 3\n"


def written(folder: Path, content: str, name: str = "mine.yaml") -> str:
    (folder / "other.yaml").write_text(OTHER)
    (folder / name).write_text(content)
    return str(folder / name)


@pytest.mark.parametrize("name", suites.files())
def test_a_shipped_suite_is_called_as_its_file(name: str) -> None:
    suite = suites.load(name)
    assert suite.name == name
    assert name not in tasks.settings()
    assert all(member.name == member.given for member in suite.members), "results are called as the task is"


@pytest.mark.parametrize("name", suites.files())
def test_the_tasks_of_a_shipped_suite_are_shipped(name: str) -> None:
    assert {member.given for member in suites.load(name).members} <= set(tasks.settings())


def test_ruler_has_thirteen_tasks_by_ability_and_its_threshold() -> None:
    ruler = suites.load("ruler")
    assert {ability: len(members) for ability, members in ruler.tasks.items()} == {
        "retrieval": 8, "tracing": 1, "aggregation": 2, "question answering": 2,
    }  # fmt: skip
    assert (ruler.title, ruler.threshold) == ("RULER", 0.856)


def test_a_suite_of_ones_own_names_shipped_tasks_and_files_beside_it(tmp_path: Path) -> None:
    path = written(tmp_path, "suite: mine\ntasks: {finding: [niah, other.yaml], predicting: [loss]}\n")
    suite = suites.load(path)
    assert (suite.name, suite.title, suite.threshold) == ("mine", "mine", 0.856)
    assert [member.name for member in suite.members] == ["niah", "short_digits", "loss"]
    chosen = choose([path], {})
    assert [task.name for task in chosen] == ["niah", "short_digits", "loss"]
    assert isinstance(chosen[1], Niah)
    assert chosen[1].digits == 3


def test_a_change_goes_to_every_task_of_a_suite_that_has_the_field(tmp_path: Path) -> None:
    path = written(tmp_path, "suite: mine\ntasks: {all: [niah, other.yaml, loss]}\n")
    chosen = choose([path], {"lengths": [256], "trials": 2})
    assert [(task.lengths, getattr(task, "trials", None)) for task in chosen] == [
        ((256,), 2),
        ((256,), 2),
        ((256,), None),
    ]
    with pytest.raises(UserError, match="unknown field of task niah, loss: 'hops'"):
        choose([path], {"hops": 2})


def test_a_task_that_is_named_twice_is_measured_once(tmp_path: Path) -> None:
    path = written(tmp_path, "suite: mine\ntasks: {all: [niah, loss]}\n")
    assert [task.name for task in choose(["loss", path, "niah"], {})] == ["loss", "niah"]


def test_what_a_suite_cannot_measure_is_left_out_and_said(tmp_path: Path) -> None:
    needy = tmp_path / "needy.py"
    needy.write_text(
        "from dataclasses import dataclass\nfrom ssmax_eval.tasks.niah import Niah\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Needy(Niah):\n    questions: str = ''\n    'A file.'\n"
        "    def needs(self):\n        return '' if self.questions else '--set questions=FILE'\n"
    )
    (tmp_path / "needy.yaml").write_text("task: needy.py:Needy\npreset: needy\nlengths: [128]\n")
    path = written(tmp_path, "suite: mine\ntasks: {all: [other.yaml, loss, needy.yaml]}\n")
    said: list[str] = []
    chosen = choose([path], {}, 4096, said.append)
    assert [task.name for task in chosen] == ["short_digits"]
    assert said == [
        "left out of mine: --max-length 4096 leaves no length of task 'loss' [20000]; "
        "task 'needy' needs --set questions=FILE"
    ]
    assert [task.name for task in choose([path], {"questions": "x"}, 4096, said.append)] == ["short_digits", "needy"]
    with pytest.raises(UserError, match="task 'needy' needs --set questions=FILE"):
        choose([str(tmp_path / "needy.yaml")], {})
    with pytest.raises(UserError, match="no task is left to measure: --max-length 64 leaves no length"):
        choose([path], {}, 64, said.append)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("suite: niah\ntasks: {all: [loss]}", "calls its suite 'niah', as a shipped one or a task is"),
        ("suite: ruler\ntasks: {all: [loss]}", "calls its suite 'ruler', as a shipped one or a task is"),
        ("suite: mine\ntasks: {all: [niah, other.yaml, niah]}", "two tasks whose results are called 'niah'"),
        ("suite: mine\ntasks: {all: [niah], more: [niah_demo]}", "results are called 'niah', 'niah' and 'niah_demo'"),
        ("suite: mine\ntasks: [niah]", "must map each ability to a list of tasks"),
        ("suite: mine\ntasks: {all: niah}", "must map each ability to a list of tasks"),
        ("suite: mine\ntasks: {all: [3]}", "must map each ability to a list of tasks"),
        ("suite: mine\ntasks: {}", "must map each ability to a list of tasks"),
        ("suite: mine", "must map each ability to a list of tasks"),
        ("suite: a/b\ntasks: {all: [niah]}", "must be a name of letters, digits"),
        ("suite: [x]\ntasks: {all: [niah]}", "must be a name of letters, digits"),
        ("suite: mine\nthreshold: 85\ntasks: {all: [niah]}", "'threshold' in .* above 0 and at most 1; got 85"),
        ("suite: mine\nthreshold: .nan\ntasks: {all: [niah]}", "'threshold' in .* above 0 and at most 1"),
        ("suite: mine\ntitle: 3\ntasks: {all: [niah]}", "'title' in .* must be a text"),
        ('suite: mine\ntitle: "\\ud800"\ntasks: {all: [niah]}', "'title' in .* must be a text of one line"),
        ("suite: mine\ntrials: 3\ntasks: {all: [niah]}", "unknown key in .*'trials'"),
        ("suite: mine\ntasks: {all: [nosuch.yaml]}", "nosuch.yaml"),
        ("suite: mine\ntasks: {all: [own.yaml]}", "needs a `preset:`"),
    ],
)
def test_a_wrong_suite_is_one_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "own.yaml").write_text("task: my.py:Mine\n")
    with pytest.raises(UserError, match=says) as raised:
        choose([written(tmp_path, content)], {})
    assert "\n" not in str(raised.value)


def test_no_task_is_one_line() -> None:
    with pytest.raises(UserError, match="no task is given; --task takes names"):
        choose([], {})


def test_an_unknown_task_and_a_suite_with_fields_are_refused() -> None:
    with pytest.raises(UserError, match=r"unknown task 'nosuch'.*ruler"):
        choose(["nosuch"], {})
    with pytest.raises(UserError, match="'ruler' is a suite of tasks, not one"):
        tasks.draft("ruler")
    with pytest.raises(UserError, match="unknown suite 'niah'"):
        suites.load("niah")


def test_a_task_file_is_no_suite(tmp_path: Path) -> None:
    written(tmp_path, "suite: mine\ntasks: {all: [niah]}")
    assert suites.find(str(tmp_path / "other.yaml")) is None
    with pytest.raises(UserError, match="is no suite"):
        suites.load(str(tmp_path / "other.yaml"))
    with pytest.raises(UserError, match=r"mine\.yaml' is a suite"):
        tasks.draft(str(tmp_path / "mine.yaml"))
