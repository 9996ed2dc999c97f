"""`--attention none`: any causal language model runs as it is, and the numbers are those of plain transformers."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from transformers import AutoModelForCausalLM, PreTrainedModel, T5Config, T5ForConditionalGeneration

import ssmax_eval
from ssmax_eval.attention import Unrewritten, describe
from ssmax_eval.cli.main import main
from ssmax_eval.errors import UserError
from ssmax_eval.model.model import Model
from ssmax_eval.tasks.niah import Niah
from tests import tiny
from tests.conftest import make_tokenizer

KINDS = ["mamba", "mamba2", "rwkv", "bloom", "gpt_neo", "falcon_mamba", "llama"]
CHANGES = {"gpt_neo": {"max_position_embeddings": 512}}
REFUSED = {
    "mamba": "no layer of a 'mamba' model attends",
    "rwkv": "no layer of a 'rwkv' model attends",
    "bloom": "BloomForCausalLM computes its attention by itself",
    "gpt_neo": "GPTNeoForCausalLM computes its attention by itself",
}
IDS = torch.randint(3, 600, (2, 40), generator=torch.Generator().manual_seed(4))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny checkpoint of each kind, with the tokenizer of 600 tokens."""
    made = {}
    for kind in KINDS:
        torch.manual_seed(0)
        hf = AutoModelForCausalLM.from_config(tiny.config(kind, vocab_size=600, **CHANGES.get(kind, {})))
        for weight in hf.parameters():
            if weight.ndim == 2:
                torch.nn.init.normal_(weight.data, std=0.2)
        made[kind] = tmp_path_factory.mktemp("unrewritten") / kind
        hf.save_pretrained(made[kind])
        make_tokenizer().save_pretrained(made[kind])
    return made


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def plain(folder: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_losses_are_the_cross_entropy_of_plain_transformers(kind: str, folders: dict[str, Path]) -> None:
    model = ssmax_eval.load(str(folders[kind]), "none")
    with torch.no_grad():
        logits = plain(folders[kind])(IDS).logits
    wanted = torch.nn.functional.cross_entropy(logits[:, :-1].mT, IDS[:, 1:], reduction="none")
    torch.testing.assert_close(model.token_losses(IDS), wanted, rtol=1e-4, atol=1e-4)
    assert not model.resumable
    model.prefill_chunk = 16
    torch.testing.assert_close(model.token_losses(IDS), wanted, rtol=1e-4, atol=1e-4)


def test_needles_by_teacher_forcing_are_what_generate_writes(kind: str, folders: dict[str, Path]) -> None:
    """The model's own greedy continuation counts as found, and the same with one token changed does not."""
    model, hf = ssmax_eval.load(str(folders[kind]), "none"), plain(folders[kind])
    task = Niah(lengths=(256,), depths=(0.0, 1.0), trials=1)
    for cell in task.cells():
        prompt = task.haystack(model.tokenizer)[0].prompt(cell)
        start = torch.tensor([prompt.ids[: prompt.answer_start]])
        written = hf.generate(
            start, attention_mask=torch.ones_like(start), max_new_tokens=3, do_sample=False, eos_token_id=None,
            pad_token_id=0,
        )  # fmt: skip
        _, chosen, _ = model.answer(written, 3)
        assert chosen.tolist() == written[:, -3:].tolist()
        other = written.clone()
        other[0, -2] = (other[0, -2] + 1) % 600
        _, chosen, _ = model.answer(other, 3)
        assert chosen[0, 1] == written[0, -2]
    found = [measurement.values["score"] for measurement in task.bind(model)(task.cells())]
    assert set(found) <= {0.0, 1.0}


def test_what_looks_into_attention_says_that_it_cannot(kind: str, folders: dict[str, Path]) -> None:
    model = ssmax_eval.load(str(folders[kind]), "none")
    assert isinstance(model.attention, Unrewritten)
    assert describe(model.attention) == "none"
    with pytest.raises(UserError, match="shows none of its attention"):
        model.key_mass(IDS[0], 0, 3)


@pytest.mark.parametrize("attention", ["auto", "softmax", "ssmax", "lssar"])
@pytest.mark.parametrize("kind", REFUSED)
def test_a_refusal_comes_in_one_step_and_names_the_way_out(
    kind: str, attention: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    for length in (None, 512):
        with pytest.raises(UserError, match=REFUSED[kind]) as refused:
            ssmax_eval.evaluate(str(folders[kind]), attention, ["loss"], tmp_path, lengths=[64], train_length=length)
        assert "--attention none runs it as it is" in str(refused.value)
        assert "--train-length" not in str(refused.value)


def test_what_is_no_causal_language_model_is_refused_in_one_step(tmp_path: Path) -> None:
    T5ForConditionalGeneration(T5Config(vocab_size=90, d_model=16, d_ff=16, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path / "t5"
    )
    for attention in ("none", "ssmax"):
        with pytest.raises(UserError, match="must be a causal language model; got a checkpoint of type 't5'"):
            ssmax_eval.load(str(tmp_path / "t5"), attention)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # by what transformers imports for BitNet
def test_a_quantised_checkpoint_runs_as_it_is(tiny_folder: Path, tmp_path: Path) -> None:
    """BitNet needs no further package: its weights have three values, and its activations eight bits."""
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "bitnet"))
    config = json.loads((folder / "config.json").read_text())
    bitnet = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "online"}
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": bitnet}))
    stance: Any = torch.compiler.set_stance
    with stance("force_eager"), torch.no_grad():  # transformers compiles its kernels otherwise, for a minute
        logits = plain(folder)(IDS).logits
        wanted = torch.nn.functional.cross_entropy(logits[:, :-1].mT, IDS[:, 1:], reduction="none")
        for attention in ("none", "softmax"):
            found = ssmax_eval.load(str(folder), attention).token_losses(IDS)
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert (ssmax_eval.load(str(tiny_folder), "none").token_losses(IDS) - wanted).abs().max() > 0.1


@pytest.mark.parametrize("kind", ["bloom", "rwkv", pytest.param("mamba", marks=pytest.mark.slow)])
def test_the_command_line_runs_it(kind: str, folders: dict[str, Path], tmp_path: Path) -> None:
    command = [
        "run",
        str(folders[kind]),
        "--attention",
        "none",
        "--lengths",
        "256",
        "--trials",
        "1",
        "--documents",
        "1",
    ]
    dry = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "runs"), "--dry-run"])
    assert (dry.exit_code, dry.exception) == (0, None)
    ran = CliRunner().invoke(main, [*command, "-o", str(tmp_path / "runs")])
    assert (ran.exit_code, ran.exception) == (0, None), ran.output
    assert "key_attention looks into attention" in ran.output
    frame = ssmax_eval.read_results(tmp_path / "runs")
    assert set(frame["task"]) == {"niah", "loss"}
    assert set(frame["attention"]) == {"none"}
    assert frame["error"].isna().all() if "error" in frame else True
    if kind != "mamba":  # a report takes its time; this one has neither heads nor a training length
        return
    report = CliRunner().invoke(main, ["report", str(tmp_path / "runs"), "-o", str(tmp_path / "report")])
    assert (report.exit_code, report.exception) == (0, None), report.output


def test_only_what_looks_into_attention_is_refused_before_anything_is_loaded(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="key_attention looks into attention"):
        ssmax_eval.evaluate(str(folders["mamba"]), "none", "key_attention", tmp_path, lengths=[256])


def test_check_says_what_runs(folders: dict[str, Path]) -> None:
    lines = [str(finding) for finding in ssmax_eval.check(str(folders["mamba"]), ["none", "softmax"])]
    assert "ok       none" in lines
    assert any(line.startswith("refused  softmax: no layer of a 'mamba' model attends") for line in lines)
    assert any("unknown length" in line for line in lines)


def test_a_checkpoint_that_was_trained_otherwise_is_not_run_as_softmax(tiny_folder: Path, tmp_path: Path) -> None:
    ssmax_eval.convert(str(tiny_folder), "ssmax:s=0.4", tmp_path / "ssmax")
    with pytest.raises(UserError, match="trained with an attention that transformers does not run"):
        ssmax_eval.load(str(tmp_path / "ssmax"), "none")


def test_a_model_that_sees_the_future_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(0)
    hf = AutoModelForCausalLM.from_config(tiny.config("bert", is_decoder=False, vocab_size=600))
    hf.save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="is not causal"):
        ssmax_eval.load(str(tmp_path / "bert"), "none")


def test_none_is_nothing_to_convert_to_or_to_rewrite(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to convert"):
        ssmax_eval.convert(str(tiny_folder), "none", tmp_path / "out")
    model = ssmax_eval.load(str(tiny_folder), "none")
    with pytest.raises(UserError, match="'none' leaves a model as it is"), ssmax_eval.rewritten(model.hf, "none"):
        pass
    assert Model(model.hf).rewriting is None
