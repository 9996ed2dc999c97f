"""The page and its figures, from a made-up store."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image

from ssmax_eval.errors import UserError
from ssmax_eval.store import read_results
from study import write_page
from study.__main__ import main
from study.claims import Claim, read_claims
from study.families import label, ordered
from study.measures import Evidence, Found, Loss, NeedleWeight, TrainingLoss
from study.outcomes import Outcome, expected_false, looked_into, markdown, outcome, tally
from study.rows import for_drawing, of_families
from study.trained import read_trained
from study.verdicts import ABSENT, FAILS, HOLDS, OPEN
from tests.study import examples

FAMILIES = {"softmax": range(5), "ssmax": range(5), "lssar": range(5), "ssmax-bias": (1,), "novel": (0,)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    store, checkpoints = examples.everything(tmp_path_factory.mktemp("families"), FAMILIES)
    for seed in range(5):
        examples.checkpoint(checkpoints, "per-n-512", seed)
        examples.runs(store, "per-n-512", seed, "base x50", length=300)
    return store, checkpoints


@pytest.fixture(scope="module")
def evidence(folders: tuple[Path, Path]) -> Evidence:
    store, checkpoints = folders
    trained = read_trained(checkpoints)
    return Evidence(of_families(read_results(store), trained), trained)


def claims() -> tuple[Claim, ...]:
    return read_claims(examples.N).claims


def outcomes(evidence: Evidence) -> list[Outcome]:
    return [outcome(claim, evidence) for claim in claims()]


def little(folder: Path) -> tuple[Path, Path]:
    """A store and a checkpoints folder of one checkpoint with few cells."""
    examples.checkpoint(folder / "checkpoints", "softmax", 0)
    examples.runs(folder / "runs", "softmax", 0, "", trials=1, documents=1, length=300)
    return folder / "runs", folder / "checkpoints"


@pytest.mark.slow
def test_the_page_has_every_claim_and_every_figure(folders: tuple[Path, Path], tmp_path: Path) -> None:
    store, checkpoints = folders
    arguments = [str(store), "--checkpoints", str(checkpoints), "-o", str(tmp_path)]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.output.strip() == str(tmp_path / "README.md")
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    for claim in claims():
        assert claim.text in text
    assert "one seed" in text
    assert ABSENT in text
    assert str(tmp_path.parent) not in text  # no paths of one machine
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert len(drawn) == 9
    for name in drawn:
        assert f"(figures/{name})" in text
    assert text.count("](figures/") == 9


def test_verdicts_follow_what_was_made_up(evidence: Evidence) -> None:
    found = {outcome.claim.text: outcome for outcome in outcomes(evidence)}
    lower = found["SSMax ends with a lower training loss than softmax"]
    assert lower.verdict == HOLDS
    assert lower.found is not None
    assert lower.found.mean == pytest.approx(-0.012)
    assert "5 seeds, 4 logged steps each" in lower.measured()
    needles = found["SSMax finds needles at 10 × the training length where softmax fails, base × 50"]
    assert needles.found is not None
    # Five trials show a difference, and not on which side of a half each of the two is.
    assert (needles.claim.wanted.verdict(needles.found), needles.verdict) == (HOLDS, OPEN)
    assert needles.found.than_limits[1] < 0.5 < needles.found.this
    assert "softmax below 50 %, SSMax above" in markdown([needles])
    assert "5 seeds, 15 trials each" in needles.measured()
    assert "points" in needles.measured()
    bias = found["SSMax with a bias predicts worse at 10 000 to 20 000 than without, base × 50"]
    assert bias.verdict == HOLDS
    assert bias.found is not None
    assert bias.found.seeds == 1
    flat = found["LSSAR p=15 has a nearly flat loss from 1 × to 16 × the training length"]
    assert flat.verdict == HOLDS
    missing = found["LSSA equals softmax at the training length"]
    assert (missing.verdict, missing.measured()) == (ABSENT, "–")


def test_factors_made_up_from_log_n_are_found_to_follow_it(evidence: Evidence) -> None:
    (found,) = [o for o in outcomes(evidence) if o.claim.this == "per-n-512"]
    assert found.found is not None
    assert found.found.this > 0.98 > found.found.than
    assert found.verdict == HOLDS
    assert "5 seeds, 2 layers each" in found.measured()


def test_what_does_not_hold_is_looked_into_on_the_families_trained_in_another_way(tmp_path: Path) -> None:
    """On text alone, the made-up SSMax trains better; the other studies are not there."""
    store, checkpoints = tmp_path / "runs", tmp_path / "checkpoints"
    for seed in range(5):
        for family in ("softmax", "ssmax", "softmax-text", "ssmax-text"):
            examples.checkpoint(checkpoints, family, seed)
        for family in ("softmax", "ssmax"):
            for rope in ("base x50", "")[: 1 + (seed == 0)]:
                examples.runs(store, family, seed, rope, length=300)
    for folder in checkpoints.glob("ssmax-seed*"):  # SSMax as bad as softmax with a nat more
        rows = [json.loads(line) for line in (folder / "training.jsonl").read_text().splitlines()]
        worse = [json.dumps({**row, "loss_text": row["loss_text"] + 1.0}) + "\n" for row in rows]
        (folder / "training.jsonl").write_text("".join(worse))
    trained = read_trained(checkpoints)
    evidence = Evidence(of_families(read_results(store), trained), trained)
    found = outcomes(evidence)
    assert found[0].verdict == FAILS
    again = looked_into(found, evidence)
    *by_position, text = again
    assert (text.claim.this, text.claim.than, text.verdict) == ("ssmax-text", "softmax-text", HOLDS)
    assert "SSMax, text only" in text.measured()
    assert [o.claim.text.partition("better at ")[2] for o in by_position] == ["positions 1 to 7", "positions 64 to 127"]
    write_page(store, checkpoints, tmp_path / "out")
    page = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "10 small Llamas in 2 variants" in page
    assert " 10 more were trained in another way" in page
    assert all(outcome.measured() in page for outcome in again)


def test_families_trained_in_another_way_come_last() -> None:
    assert ordered(["novel", "ssmax-text", "ssmax-long", "softmax-long", "lssa", "softmax"]) == [
        "softmax", "lssa", "novel", "softmax-long", "ssmax-long", "ssmax-text",
    ]  # fmt: skip
    assert label("ssmax-s1-long") == "SSMax, s = 1, 3 × the steps"


def test_every_claim_is_a_row(evidence: Evidence) -> None:
    rows = markdown(outcomes(evidence)).splitlines()
    assert len(rows) == 2 + len(claims())
    assert {row.count(" | ") for row in rows[2:]} == {3}


def test_values_are_by_seed_and_unit(evidence: Evidence) -> None:
    loss = Loss("base x 50", 10_000, 19_999).values(evidence, "ssmax")
    rows = evidence.rows.query(
        "task == 'loss' and family == 'ssmax' and rope != 'plain' and seed == 1 and document == 2"
    )
    near = rows[rows["position"] < examples.N]
    for length in (examples.N, 20_000):
        short = Loss("base x 50", 1, examples.N - 1, length=length).values(evidence, "ssmax")
        wanted = near.loc[near["context_length"] == length, "nll"].mean()
        assert short.xs(1, level="seed").xs(2, level="document").item() == pytest.approx(wanted)
    expected = rows.loc[rows["position"] >= 10_000, "nll"].mean()
    assert len(loss) == 5 * 5
    assert loss.xs(1, level="seed").xs(2, level="document").item() == pytest.approx(expected)
    assert len(Found("plain", 1280).values(evidence, "softmax")) == 1 * 3 * 5
    assert Loss("base x 50", 10_000, 20_000).values(evidence, "ssmax").empty  # no document is that long
    assert TrainingLoss().values(evidence, "lssa").empty
    assert NeedleWeight("plain", 1024).values(evidence, "lssa").empty


def test_the_best_head_is_that_of_each_seed(evidence: Evidence) -> None:
    """Seeds have their best head in different places; made up so that it is the third or the second."""
    weights = NeedleWeight("base x 50", 128).values(evidence, "ssmax")
    assert len(weights) == 5 * 5
    assert weights.min() > 0.7
    ranked = for_drawing(evidence.rows.query("task == 'key_attention' and family == 'ssmax'"))
    means = ranked.groupby("head")["needle_score"].mean()
    assert means.is_monotonic_decreasing
    assert list(means.index) == [0, 1, 2, 3]


def test_series_are_families(evidence: Evidence) -> None:
    series = evidence.rows["series"]
    assert list(series.cat.categories) == [
        "softmax",
        "SSMax",
        "LSSAR p=15",
        "SSMax with bias",
        "novel",
        "factor per n, text only, 512 tokens",
    ]
    niah = for_drawing(evidence.rows.query("task == 'niah' and family == 'softmax' and rope != 'plain'"))
    assert not niah.duplicated(["context_length", "depth", "trial"]).any()


def test_runs_under_another_attention_are_left_out(folders: tuple[Path, Path]) -> None:
    store, checkpoints = folders
    frame = read_results(store / "softmax-seed0__niah").astype({"attention": "str"})
    changed = pd.concat([frame, frame.assign(attention="ssmax:s=0.2", run="another")])
    assert len(of_families(changed, read_trained(checkpoints))) == len(frame)


def test_two_runs_of_the_same_are_refused(folders: tuple[Path, Path]) -> None:
    store, checkpoints = folders
    frame = read_results(store / "softmax-seed0__niah")
    twice = pd.concat([frame, frame.assign(run="another")])
    with pytest.raises(UserError, match="two runs of one checkpoint"):
        of_families(twice, read_trained(checkpoints))


def test_verdicts_that_rest_on_one_seed_are_counted_apart(evidence: Evidence) -> None:
    found = {one.claim.text: one for one in outcomes(evidence)}
    several = found["SSMax ends with a lower training loss than softmax"]
    single = found["SSMax with a bias predicts worse at 10 000 to 20 000 than without, base × 50"]
    missing = found["LSSA equals softmax at the training length"]
    assert tally([several, single, missing, single]) == (
        "on several seeds: holds 1; on one seed: holds 2; not measured 1"
    )
    assert tally([several]) == "on several seeds: holds 1"
    said = expected_false([several, single, missing, single])
    assert "95 %: 3, of which 2 on one seed" in said
    assert "0.15 false verdicts (0.1 of them on one seed)" in said


def test_a_verdict_on_few_texts_says_so(evidence: Evidence) -> None:
    """Documents of one text say nothing about other texts, however many seeds there are."""
    found = {one.claim.text: one for one in outcomes(evidence)}
    far = found["SSMax predicts text better than softmax at positions 10 000 to 20 000, RoPE base × 50"]
    assert far.verdict == HOLDS
    assert far.found is not None
    assert far.measured().endswith("5 seeds, 5 documents each, on **one text**")
    two = Outcome(far.claim, replace(far.found, texts=2))
    assert two.measured().endswith("documents each, on **two texts**")
    assert Outcome(far.claim, replace(far.found, texts=5)).measured().endswith("5 documents each")
    needles = found["SSMax finds needles at 10 × the training length where softmax fails, base × 50"]
    assert "text" not in needles.measured()


def test_a_batch_that_was_halved_does_not_stop_the_page(tmp_path: Path) -> None:
    """Such a session leaves a note beside the line of its start, which has no command."""
    store, checkpoints = little(tmp_path)
    for sessions in store.glob("*/sessions.jsonl"):
        with sessions.open("a") as file:
            file.write('{"kind": "out_of_memory", "batch_size": 1}\n{"out_of_memory": "no memory left"}\n')
    assert write_page(store, checkpoints, tmp_path / "out")[0].is_file()


def test_pdfs_are_written_where_they_are_asked_for_and_pictures_are_small(tmp_path: Path) -> None:
    store, checkpoints = little(tmp_path)
    page, *files = write_page(store, checkpoints, tmp_path / "out", pdf=True)
    assert page.name == "README.md"
    assert {path.stem for path in files if path.suffix == ".pdf"} == {path.stem for path in files}
    for path in files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert (image.mode, image.width) == ("P", 1600)
            assert path.stat().st_size < 150_000


def test_trainings_without_weights_are_on_the_page(tmp_path: Path) -> None:
    store, checkpoints = little(tmp_path)
    examples.checkpoint(checkpoints, "ssmax-text", 0, record=True)
    text = write_page(store, checkpoints, tmp_path / "out")[0].read_text(encoding="utf-8")
    assert "| SSMax, text only | ssmax | 0 | 400 |" in text


def test_little_is_enough(tmp_path: Path) -> None:
    """One checkpoint, one task: a page without verdicts, and the figures that there can be."""
    store, checkpoints = little(tmp_path)
    examples.checkpoint(checkpoints, "ssmax", 0, finished=False)
    written = write_page(store, checkpoints, tmp_path / "out")
    text = written[0].read_text(encoding="utf-8")
    assert "1 small Llama" in text
    assert f"{ABSENT} {len(claims())}" in text
    names = {path.stem for path in written[1:]}
    assert names == {"overview-plain-rope", "loss-by-length", "retrieval-by-length", "training"}


def test_what_is_wrong_is_said(folders: tuple[Path, Path], tmp_path: Path) -> None:
    store, checkpoints = folders
    with pytest.raises(UserError, match="no folder"):
        write_page(store / "softmax-seed0__niah", tmp_path / "nowhere", tmp_path)
    with pytest.raises(UserError, match="no finished checkpoints"):
        write_page(store, tmp_path, tmp_path)
    with pytest.raises(UserError, match="no runs in"):
        write_page(tmp_path, checkpoints, tmp_path)
    examples.checkpoint(tmp_path, "lssa", 7)
    with pytest.raises(UserError, match="none of the finished checkpoints lssa-seed7"):
        write_page(store / "softmax-seed0__niah", tmp_path, tmp_path)
    result = CliRunner().invoke(main, [str(store), "--checkpoints", str(tmp_path / "nowhere")])
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("Error: no folder")
    (tmp_path / "lssa-seed7" / "config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        read_trained(tmp_path)
