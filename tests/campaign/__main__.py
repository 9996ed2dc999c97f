"""`python -m tests.campaign --minutes 5 --seed 0`: attack, count, and say what went wrong."""

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch
from transformers import LlamaForCausalLM
from transformers.utils import logging as transformers_logging

from ssmax_eval.measurement import Cell, Measurement
from ssmax_eval.run import evaluate, forecast, stored  # noqa: F401  (imported once, before the forks)
from ssmax_eval.run.stored import written
from ssmax_eval.store import Store, run_folders
from tests.campaign.child import Ended, command
from tests.conftest import make_tokenizer, tiny_config

TASKS = ("--attention", "softmax", "--attention", "ssmax:s=0.2", "--task", "niah,loss", "--lengths", "200,300",
         "--trials", "3", "--documents", "6", "--batch-size", "1")  # fmt: skip
FILES = ("cells.jsonl", "run.json", "sessions.jsonl")


class Campaign:
    """One folder with a checkpoint, a reference run, and counts of what was done and of what was found."""

    def __init__(self, root: Path, seed: int) -> None:
        self.root, self.draw, self.counts = root, random.Random(seed), Counter[str]()
        self.wrong: list[str] = []
        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        torch.set_num_threads(1)
        torch.manual_seed(0)
        LlamaForCausalLM(tiny_config(max_position_embeddings=1024)).save_pretrained(root / "tiny")
        make_tokenizer().save_pretrained(root / "tiny")
        started = time.monotonic()
        first = self.run(root / "reference")
        if first.code:
            sys.exit(f"the reference run fails: {first.said}")
        self.seconds = time.monotonic() - started
        self.reference = self.cells(root / "reference")

    def run(self, store: Path, kill_after: float | None = None, largest_file: int | None = None) -> Ended:
        arguments = ["run", str(self.root / "tiny"), *TASKS, "-o", str(store)]
        return command(arguments, self.root / "log", kill_after=kill_after, largest_file=largest_file)

    def cells(self, store: Path) -> dict[tuple[str, Cell], Measurement]:
        """Every cell of a store, without its time."""
        return {
            (folder.name, cell): Measurement(cell, found.values, found.rows, found.error)
            for folder in run_folders([store])
            for cell, found in Store(store).cells(folder.name).items()
        }

    def check(self, ended: Ended, what: str) -> None:
        """Note a traceback, a hang, or an odd exit."""
        self.counts[f"exit {ended.code}"] += 1
        if not ended.clean:
            self.wrong.append(f"{what}: exit {ended.code}: {ended.said[-1500:]}")

    def compare(self, store: Path, what: str) -> None:
        """Note cells that are lost, wrong, or there twice."""
        there = self.cells(store)
        if lost := self.reference.keys() - there.keys():
            self.wrong.append(f"{what}: {len(lost)} cells are lost")
        if other := [key for key in there if there[key] != self.reference.get(key)]:
            self.wrong.append(f"{what}: {len(other)} cells have other numbers, such as {other[0]}")
        lines = sum(len((folder / FILES[0]).read_bytes().splitlines()) for folder in run_folders([store]))
        self.counts["cells compared"] += len(there)
        self.counts["lines beyond one a cell"] += lines - len(there)

    def kills(self) -> None:
        """Kill a run at random moments until it is done all the same."""
        store = self.root / "killed"
        shutil.rmtree(store, ignore_errors=True)
        for _ in range(self.draw.randint(1, 5)):
            ended = self.run(store, kill_after=self.draw.uniform(0, self.seconds))
            self.counts["kills"] += ended.code == -9
            if ended.code != -9:
                self.check(ended, "a run to be killed")
            for note in store.glob("*/attempt.json"):
                note.unlink()  # two kills in a row are chance here, and no length is to be given up
        self.check(self.run(store), "after kills")
        self.compare(store, "after kills")

    def damage(self) -> None:
        """Damage a file of a finished store, read it, and measure again."""
        store = self.root / "damaged"
        shutil.rmtree(store, ignore_errors=True)
        shutil.copytree(self.root / "reference", store)
        folder = self.draw.choice(run_folders([store]))
        path, how = folder / self.draw.choice(FILES), self.draw.choice(["flip", "cut", "zero", "empty", "remove"])
        content, at = bytearray(path.read_bytes()), self.draw.randrange(path.stat().st_size)
        if how == "flip":
            content[at] ^= 1 << self.draw.randrange(8)
        elif how == "cut":
            del content[at:]
        elif how == "zero":
            content[at : at + 64] = bytes(len(content[at : at + 64]))
        elif how == "empty":
            content.clear()
        path.unlink() if how == "remove" else path.write_bytes(content)
        what = f"{path.name}: {how} at {at}"
        self.counts[f"damage to {path.name}"] += 1
        cell = self.draw.choice([cell for name, cell in self.reference if name == folder.name])
        show = ["show", str(folder), "--cell", written(cell)]
        report = ["report", str(store), "-o", str(self.root / "report")]
        for arguments in (["compare", str(store), "--baseline", "softmax"], show, report):
            self.check(command(arguments, self.root / "log"), f"{arguments[0]} after {what}")
        ended = self.run(store)
        self.check(ended, f"run after {what}")
        if ended.code == 0:
            self.compare(store, what)
        else:
            self.counts["refused until it is mended"] += 1

    def full_disk(self) -> None:
        """Let no file grow beyond a random size, and measure the rest once there is space."""
        store = self.root / "full"
        shutil.rmtree(store, ignore_errors=True)
        ended = self.run(store, largest_file=int(2 ** self.draw.uniform(4, 16)))
        self.check(ended, "on a full disk")
        self.counts["full disks"] += ended.code == 2
        self.check(self.run(store), "once there is space")
        self.compare(store, "once there is space")


def main() -> int:
    """Attack for some minutes, print the counts, and return how many things were wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--attack", choices=("kills", "damage", "full_disk"), help="only this one")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        campaign = Campaign(Path(root), given.seed)
        end = time.monotonic() + 60 * given.minutes
        while time.monotonic() < end:
            for attack in [given.attack] if given.attack else ["kills", "damage", "full_disk"]:
                getattr(campaign, attack)()
        for name, count in sorted(campaign.counts.items()):
            print(f"{name:<32} {count:>8}")
        print(f"{'wrong':<32} {len(campaign.wrong):>8}")
        for line in campaign.wrong:
            print(f"  {line}")
        return len(campaign.wrong)


if __name__ == "__main__":
    sys.exit(min(main(), 1))
