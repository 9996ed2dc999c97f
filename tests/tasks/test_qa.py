"""Questions among paragraphs: the answer stands where it is said to, once, in a text of exactly the length."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell
from ssmax_eval.model import Completion
from ssmax_eval.run.choosing import choose
from ssmax_eval.tasks import load
from ssmax_eval.tasks.answering import Prompt
from ssmax_eval.tasks.documents import read_questions
from ssmax_eval.tasks.question_answering import QA
from tests.conftest import make_tokenizer

DATA = Path(__file__).parents[1] / "data"
SQUAD, HOTPOT = DATA / "squad.json", DATA / "hotpotqa.json"
BOTH = pytest.mark.parametrize("data", [SQUAD, HOTPOT], ids=["squad", "hotpotqa"])
CHAT, PLAIN = make_tokenizer(), make_tokenizer(chat=False)


def qa(data: Path = SQUAD, **changes: Any) -> QA:
    return QA(**{"data": str(data), "lengths": (512, 900), "trials": 3, "depths": (0.0, 0.5, 1.0), **changes})


def prompts(task: QA, tokenizer: Any = CHAT) -> dict[Cell, Prompt]:
    ask = task.asking(task.frame(tokenizer))
    return {cell: ask(cell) for cell in task.cells()}


def documents(text: str) -> list[str]:
    """The documents of a prompt, read from its text."""
    before, _, _ = text.partition("\n\nUsing the documents above")
    return re.split(r"\n\nDocument \d+\n", re.sub(r"\n\nand so( on)?[\w .]*$", "", before))[1:]


def gold_of(prompt: Prompt) -> list[str]:
    """The paragraphs that answer a prompt's question, looked up in the files anew."""
    question = prompt.text.split("in a few words: ")[1].split("?")[0] + "?"
    for article in json.loads(SQUAD.read_text())["data"]:
        for paragraph in article["paragraphs"]:
            if any(question in one["question"] for one in paragraph["qas"] if not one["is_impossible"]):
                return [paragraph["context"]]
    (entry,) = (one for one in json.loads(HOTPOT.read_text()) if one["question"] == question)
    titles = [title for title, _ in entry["supporting_facts"]]
    return [f"{title}\n{''.join(said)}" for title, said in entry["context"] if title in titles]


@BOTH
@pytest.mark.parametrize("tokenizer", [CHAT, PLAIN], ids=["chat", "plain"])
def test_lengths_are_exact_and_the_answer_stands_at_its_depth_alone(data: Path, tokenizer: Any) -> None:
    task = qa(data)
    for cell, prompt in prompts(task, tokenizer).items():
        encoded = tokenizer(prompt.text, add_special_tokens=False)["input_ids"]
        assert encoded == list(prompt.ids)
        assert len(encoded) + 32 == cell.context_length
        found, gold = documents(prompt.text), gold_of(prompt)
        assert len(found) == prompt.about["documents"]
        at = found.index(gold[0])
        assert found[at : at + len(gold)] == gold
        holding = [i for i, text in enumerate(found) if any(one in text for one in prompt.expected)]
        assert set(holding) <= set(range(at, at + len(gold)))
        assert holding
        around = [*found[:at], *found[at + len(gold) :]]
        before, all_of_it = sum(map(len, found[:at])), sum(map(len, around))
        assert prompt.about["actual_depth"] == pytest.approx(before / all_of_it, abs=0.1)  # the padding is not counted
        assert abs(float(prompt.about["actual_depth"]) - (cell.depth or 0.0)) < 0.25
        assert cell.depth not in (0.0, 1.0) or prompt.about["actual_depth"] == cell.depth


def test_depths_of_a_trial_share_their_question_and_the_documents_before_it() -> None:
    found = prompts(qa(lengths=(900,), trials=2))
    for trial in (0, 1):
        end = documents(found[Cell(900, depth=1.0, trial=trial)].text)
        middle = documents(found[Cell(900, depth=0.5, trial=trial)].text)
        start = documents(found[Cell(900, depth=0.0, trial=trial)].text)
        assert start[0] == end[-1] or end[-1].startswith(start[0])
        at = middle.index(start[0])
        assert 0 < at < len(middle) - 1
        assert middle[:at] == end[:at]
    assert len({prompt.expected for prompt in found.values()}) == 2


def test_neighbours_come_first() -> None:
    for prompt in prompts(qa(lengths=(600,), trials=5, depths=(0.5,))).values():
        towns = [re.findall("Arlen|Bresk|Corvin|Dunmoor", text) for text in documents(prompt.text)]
        assert len({name for names in towns for name in names}) <= 2, "three more of one article fill this length"
    ten = prompts(qa(HOTPOT, lengths=(1200,), trials=4, depths=(0.5,)))
    for prompt in ten.values():
        town = gold_of(prompt)[0].split("\n")[0]
        assert sum(f"of {town}\n" in text for text in documents(prompt.text)) == 8
    assert prompts(qa(HOTPOT, lengths=(1200,), trials=1, depths=(0.5,))) == {
        cell: prompt for cell, prompt in ten.items() if cell.trial == 0
    }


def test_what_cannot_be_answered_is_left_out() -> None:
    found = read_questions(str(SQUAD))
    assert len(found.items) == 20
    assert not any("owns" in item.question for item in found.items)
    assert len(found.paragraphs) == 16
    assert [len(item.gold) for item in read_questions(str(HOTPOT)).items] == [2] * 4


def test_a_sub_grid_sees_the_same_prompts_and_another_seed_others() -> None:
    whole, part = prompts(qa()), prompts(qa(lengths=(900,), depths=(0.5,), trials=2))
    assert all(whole[cell] == prompt for cell, prompt in part.items())
    assert whole != prompts(qa(seed=1))


def test_f1_and_exact_look_at_the_first_line_of_the_answer() -> None:
    task = qa()
    prompt = Prompt("text", [1], ("the river Ashel", "Ashel"))
    said = task.scored(prompt, Completion("Ashel.\nIt floods.", 9, "end"))
    assert (said["score"], said["exact"], said["f1"]) == (1.0, 1.0, 1.0)
    said = task.scored(prompt, Completion("the Ashel water", 9, "end"))
    assert (said["score"], said["exact"]) == (1.0, 0.0)
    assert said["f1"] == pytest.approx(2 / 3)
    assert task.scored(prompt, Completion("", 0, "end"))["f1"] == 0.0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"depths": (1.5,)}, "depths lie between 0"),
        ({"question": "What?"}, "question must contain {question}"),
        ({"document": "{{text}}"}, "document must contain {text}"),
        ({"document": "{text:.5}"}, "document takes {text} without a format"),
        ({"document": "{nummer} {text}"}, "unknown field {nummer} in document"),
        ({"scoring": "best"}, "unknown scoring 'best'"),
    ],
)
def test_wrong_settings_are_one_line(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError, match=says):
        qa(**changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"trials": 21}, r"has 20 questions with an answer, not 21"),
        ({"lengths": (900, 90)}, r"context length 90 is too short: 3 questions with their paragraphs and answers need"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_measured(changes: dict[str, Any], says: str) -> None:
    task = qa(**changes)
    with pytest.raises(UserError, match=says) as no:
        task.asking(task.frame(CHAT))
    if "need" in says:
        smallest = int(str(no.value).split("need ")[1].split()[0])
        small = qa(lengths=(smallest,))
        assert all(len(prompt.ids) + 32 == smallest for prompt in prompts(small).values())
        with pytest.raises(UserError, match="too short"):
            prompts(qa(lengths=(smallest - 1,)))


def test_too_little_text_is_said() -> None:
    with pytest.raises(UserError, match="too little text for 20000 tokens"):
        prompts(qa(lengths=(20_000,), trials=1))


def test_a_preset_without_data_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="task 'ruler_qa_1' needs --set data=FILE"):
        choose(["ruler_qa_1"], {})
    with pytest.raises(UserError, match="task 'ruler_qa_1' needs --set data=FILE"):
        load("ruler_qa_1").settings()
    task = load("ruler_qa_2", {"data": str(HOTPOT)})
    assert (task.name, task.settings()["data"]) == ("ruler_qa_2", read_questions(str(HOTPOT)).digest)
    assert load("qa", {"data": str(SQUAD)}).settings()["data"] != task.settings()["data"]
    wrong = tmp_path / "wrong.json"
    for content in ("", "[1]", '{"data": [{}]}', '{"data": []}', '"x"'):
        wrong.write_text(content)
        with pytest.raises(UserError, match=r"must be SQuAD's JSON, or HotpotQA's|holds no question"):
            qa(wrong).settings()


def test_half_a_character_in_the_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "squad.json"
    file.write_text(SQUAD.read_text().replace("the ", "the \\ud800 ", 1))
    with pytest.raises(UserError, match="holds half of a character"):
        qa(file).settings()
