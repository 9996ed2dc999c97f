"""What is trained, how long and on what: data only, read from YAML."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ssmax_eval.errors import UserError, unknown
from ssmax_eval.settings import assignments, built, checked, from_yaml, shipped
from ssmax_eval.tasks.prompts import CITIES, Wording

MOST_LAYERS, MOST_WEIGHTS = 1_000, 10**11
"""Of a model that may be asked for; a larger one fits into no machine that trains alone."""
MOST_TOKENS = 1 << 30
"""Tokens of the largest batch that may be asked for."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A training. Every field can be set in YAML and from the command line."""

    layers: int
    """Decoder layers."""
    heads: int
    """Attention heads of a layer, each with keys of its own."""
    width: int
    """Width of the residual stream; a head has width / heads of it."""
    mlp_width: int | None = None
    """Hidden width of the feed-forward layers. None: 8/3 of the width, to a multiple of 16."""
    train_length: int
    """Tokens of every training sequence."""
    vocab_size: int = 1024
    """Tokens of the vocabulary, at most."""
    rope_theta: float = 10000.0
    """Base of the rotary embedding."""
    init_std: float | None = None
    """Standard deviation of the initial weights. None: 1 / sqrt(width), without which small models hardly start."""

    attention: str = "softmax"
    """Attention to train with, as `ssmax-eval list` names them, with parameters."""
    learn: tuple[str, ...] = ("auto",)
    """Parameters of the attention that are learned, one per layer and head, from the value given or the default.
    "auto": those that its paper learns, unless the specification gives them."""
    parameter_lr: float = 1.0
    """Factor on the learning rate of those parameters."""

    steps: int
    """Steps of the optimizer, from the very beginning."""
    start_step: int = 0
    """Step from which a checkpoint goes on: its place in the learning-rate schedule and in the data."""
    lr: float
    """Highest learning rate of AdamW."""
    warmup: int = 200
    """Steps over which the learning rate rises; it then falls along a cosine."""
    lr_floor: float = 0.05
    """Share of the highest learning rate that is left at the end."""
    weight_decay: float = 0.1
    """Of the matrices; gains and the attention's parameters have none."""
    beta2: float = 0.95
    """Decay of AdamW's second moment; that of the first is 0.9."""
    clip: float = 1.0
    """Norm beyond which a gradient is scaled down."""

    texts: tuple[str, ...] = ()
    """Text files or folders of them; without any, the built-in text."""
    held_out: tuple[str, ...] = ()
    """Names of texts among those that are left unread, to measure on (`emma` for emma.txt)."""
    text_sequences: int
    """Sequences of plain text in a batch."""
    needle_sequences: int
    """Sequences in a batch that hide sentences in text and end with questions."""
    table_sequences: int = 0
    """Sequences in a batch that list cities with their numbers again and again, from which models learn to look up."""
    repeat_sequences: int = 0
    """Sequences in a batch that repeat a block of random tokens, from which models learn to look back."""
    needles: int = 4
    """Sentences hidden in a needle sequence, at most; there is at least one."""
    questions: int = 4
    """Questions at the end of a needle sequence, at most, and at most one for each sentence."""
    edge: float = 0.1
    """Share of the needle sequences whose first needle stands at the very start, and whose last at the very end."""
    answer_weight: float = 2.0
    """Weight in the loss of the digits of an answer; other tokens have 1."""
    digits: int = 4
    """Digits of the numbers; two of them are one token."""
    intro: str = ""
    """Sentence before the haystack."""
    needle: str = "Special magic number: {city} {number}."
    """The sentence to be found."""
    question: str = ""
    """Question after the haystack."""
    answer_prefix: str = "Special magic number: {city}"
    """Beginning of the answer, up to the number."""

    seed: int = 0
    """Decides the initial weights and the data."""
    bf16: bool = True
    """Matrix products in bfloat16, weights and losses in float32."""
    threads: int | None = None
    """Processor threads. None: as many as torch takes."""
    log_every: int = 25
    """Steps that one line of training.jsonl averages over."""
    save_every: int = 200
    """Steps after which a kill loses nothing."""
    keep_at: tuple[float, ...] = ()
    """Shares of the steps at which a checkpoint folder of its own is kept (0.75: `step-...` in the output folder)."""

    def __post_init__(self) -> None:
        for name in ("layers", "heads", "width", "train_length", "steps", "warmup", "log_every", "save_every"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be 1 or more; given {getattr(self, name)}")
        if self.width % (2 * self.heads):
            raise UserError(f"width must be an even multiple of heads; given {self.width} and {self.heads}")
        if self.save_every % self.log_every:
            raise UserError(f"save_every must be a multiple of log_every; given {self.save_every} and {self.log_every}")
        if not 0 <= self.start_step < self.steps:
            raise UserError(f"start_step must be less than the {self.steps} steps; given {self.start_step}")
        if self.sequences < 1:
            raise UserError("text_, needle_, table_ or repeat_sequences must be 1 or more: a batch needs a sequence")
        if self.needle_sequences and not 1 <= self.questions <= self.needles <= len(CITIES):
            raise UserError(
                f"questions must be 1 or more, needles as many or more, and at most {len(CITIES)}; "
                f"given {self.questions} questions, {self.needles} needles"
            )
        if not 1 <= self.digits <= 15 or not 0 <= self.edge <= 1 or not all(0 < at < 1 for at in self.keep_at):
            raise UserError("digits must be 1 to 15, edge 0 to 1, and keep_at between 0 and 1")
        if (weights := self.weights) > MOST_WEIGHTS or self.layers > MOST_LAYERS:
            raise UserError(
                f"a model of {self.layers:,} layers and about {weights:,} weights is too large to train here; "
                f"{MOST_LAYERS:,} layers and {MOST_WEIGHTS:,} weights are the most"
            )
        if self.sequences * self.train_length > MOST_TOKENS:
            raise UserError(
                f"a batch of {self.sequences:,} sequences of {self.train_length:,} tokens is too large; "
                f"{MOST_TOKENS:,} tokens are the most"
            )
        _ = self.wording
        if "{number}" not in self.needle:
            raise UserError(f"the needle must contain {{number}}; given {self.needle!r}")

    @property
    def weights(self) -> int:
        """Weights of the model, about: the matrices of its layers, and the two tables of its vocabulary."""
        inner = self.mlp_width or 8 * self.width // 3
        return self.layers * (4 * self.width**2 + 3 * self.width * inner) + 2 * self.vocab_size * self.width

    @property
    def sequences(self) -> int:
        """Sequences of a batch."""
        return self.text_sequences + self.needle_sequences + self.table_sequences + self.repeat_sequences

    @property
    def wording(self) -> Wording:
        return Wording(self.intro, self.needle, self.question, self.answer_prefix)

    @property
    def kept(self) -> frozenset[int]:
        """Steps after which a checkpoint is kept."""
        return frozenset(round(share * self.steps) for share in self.keep_at)


def recipes() -> dict[str, Path]:
    """Return the shipped YAML files by name."""
    return shipped("train", "recipes")


def load(name: str | os.PathLike[str], changes: dict[str, Any], settings: Sequence[str] = ()) -> Recipe:
    """Return the recipe of a shipped YAML file or a path, with changed fields and `field=value` settings.

    UserError for a file that is missing or holds no mapping, an unknown field, or a wrong value.
    """
    path = Path(name) if str(name).endswith((".yaml", ".yml")) else recipes().get(str(name))
    if path is None:
        raise unknown("recipe", str(name), recipes())
    content = from_yaml(path, "recipe")
    if not isinstance(content, dict):
        raise UserError(f"{str(path)!r} must be a mapping of fields, such as 'layers: 2'")
    values = checked(Recipe, content, str(path))
    values |= checked(Recipe, {**changes, **assignments(settings)}, "the command")
    return built(Recipe, values, str(path))
