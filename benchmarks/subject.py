"""What the bench measures on: a checkpoint, loaded when first needed, and how long its texts are."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from ssmax_eval.attention import Softmax
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.errors import UserError
from ssmax_eval.model import Model, running
from ssmax_eval.tasks.loss import Loss


@dataclass(frozen=True)
class Subject:
    """A checkpoint to measure on. Whole models run softmax, so that both sides give the same answers."""

    checkpoint: Checkpoint
    lengths: tuple[int, ...]
    """Tokens for the attentions by themselves, ascending."""
    quick: bool = False
    """Whether few cells are enough, to see that everything works."""
    vllm: str = ""
    """An interpreter that has vLLM, to compare engines with."""

    @cached_property
    def hf(self) -> Any:
        """The transformers model with its own attention."""
        if self.checkpoint.tokenizer is None:
            raise UserError(f"{self.checkpoint.label!r} has no tokenizer; only --only attention can be measured")
        return self.checkpoint.load()

    @property
    def tokenizer(self) -> Any:
        return self.checkpoint.tokenizer

    @property
    def device(self) -> torch.device:
        return self.checkpoint.device_and_dtype.device

    @property
    def dtype(self) -> torch.dtype:
        return self.checkpoint.device_and_dtype.dtype

    @property
    def tolerance(self) -> float:
        """How far apart two numbers may lie that differ by rounding only."""
        return 1e-3 if self.dtype in (torch.float32, torch.float64) else 0.1

    @contextmanager
    def model(self) -> Iterator[Model]:
        """The same model, rewritten to softmax inside the block."""
        with running(self.checkpoint, self.hf, Softmax()) as model:
            yield model

    def within(self, *wanted: int) -> list[int]:
        """These lengths, each at most the longest of the bench and the longest that the model has positions for."""
        return sorted({min(length, self._longest) for length in wanted})

    @cached_property
    def _longest(self) -> int:
        with self.model() as model:
            return min(self.lengths[-1], model.max_positions or self.lengths[-1])

    def text(self, length: int) -> Tensor:
        """A document of so many tokens, int64 [length]."""
        task = Loss(lengths=(length,), documents=1)
        ids = task.cut(self.tokenizer, length)[0].ids
        return torch.tensor(ids, device=self.device)
