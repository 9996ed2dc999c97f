"""Context gain on an answer that the context holds: does the model expect it more than without the needle?"""

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ssmax_eval.corpus import text_digest
from ssmax_eval.errors import UserError
from ssmax_eval.measurement import Cell, Quantity
from ssmax_eval.tasks.base import grid
from ssmax_eval.tasks.chat import chats, render
from ssmax_eval.tasks.context_gain import gain, refuse_short
from ssmax_eval.tasks.loss import beginning
from ssmax_eval.tasks.niah import PROMPT, NeedleTask, scored
from ssmax_eval.tasks.prompts import HAYSTACK, Haystack, Prompt

if TYPE_CHECKING:
    from ssmax_eval.model import Answer, Model

SECTION = "Context gain on answers"


@dataclass(frozen=True, kw_only=True)
class ContextGainAnswer(NeedleTask):
    """The loss of a number after the question for it alone, minus its loss after the whole haystack that holds it.

    The prompts are those of `niah`. The short context is what begins every prompt (special tokens, or the opening of
    the chat template) and the last `near` tokens before the answer, which hold the question and no needle. A gain
    shows before the model gets a whole number right. (The rest of the haystack may change the loss, too.)
    """

    quantities = (
        Quantity("gain", "context gain on the answer", "nats per token", "higher", units=("depth", "trial"),
                 same=PROMPT, views=("heatmap", "by_length"), section=SECTION,
                 about="By how much the loss of an answer falls when the model sees the text that holds it, and not "
                       "only the question. Above 0, that text helps, also where the whole answer is not yet right."),
        Quantity("loss_long", "loss of the answer with the whole context", "nats per token", "lower",
                 units=("depth", "trial"), same=PROMPT, views=(), between=(0.0, None), section=SECTION),
        Quantity("loss_short", "loss of the answer after the question alone", "nats per token", "lower",
                 units=("depth", "trial"), same=PROMPT, views=(), between=(0.0, None), section=SECTION),
    )  # fmt: skip

    depths: tuple[float, ...] = grid((0.0, 0.25, 0.5, 0.75))
    """Wanted depths of the needle: 0 is the start of the haystack. It must stand before the last `near` tokens."""
    near: int = 128
    """Tokens before the answer in the short context, the question among them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.near < 1:
            raise UserError(f"near must be 1 or more; given {self.near}")
        refuse_short(self, self.near, "near")

    def haystack(self, tokenizer: Any) -> tuple[Haystack, bool]:
        """Return the maker of prompts, once it is sure that no short context holds a needle."""
        haystack, chat = super().haystack(tokenizer)
        for length in self.lengths:
            self._refuse_near(haystack.prompt(Cell(length, depth=max(self.depths), trial=0)))
        return haystack, chat

    def found(
        self, model: "Model", prompts: list[Prompt], answer: "Answer"
    ) -> list[tuple[dict[str, Any], dict[str, list[Any]]]]:
        results = []
        for i, (prompt, short) in enumerate(zip(prompts, self._alone(model, prompts), strict=True)):
            long = -answer.logprobs[i, prompt.answer_start - len(prompt.ids) :]
            values = scored(model.tokenizer, prompt, answer.logprobs[i], answer.chosen[i])
            digest = self._digest(prompt)
            results.append(({**values, **gain(long, short), "prompt_digest": digest}, dict[str, list[Any]]()))
        return results

    def prompt_digest(self, cell: Cell, tokenizer: Any) -> str:
        return self._digest(self.haystack(tokenizer)[0].prompt(cell))

    def _digest(self, prompt: Prompt) -> str:
        return text_digest(f"{prompt.text} [{self.near}]")

    def _alone(self, model: "Model", prompts: list[Prompt]) -> list[Tensor]:
        """Return the losses of each prompt's answer after the short context."""
        begin = self._opening(model.tokenizer)
        for prompt in prompts:
            self._refuse_near(prompt)
        contexts = [begin + prompt.ids[prompt.answer_start - self.near :] for prompt in prompts]
        losses: list[Tensor] = []
        for length, alike in groupby(contexts, key=len):
            ids = torch.tensor(list(alike))
            losses += -model.answer(ids, length - len(begin) - self.near).logprobs
        return losses

    def _opening(self, tokenizer: Any) -> list[int]:
        """Return the tokens that begin every prompt: special ones, or the chat template up to the message."""
        if not chats(tokenizer, self.chat_template):
            return beginning(tokenizer)
        opening = render(tokenizer, HAYSTACK).text.partition(HAYSTACK)[0]
        ids: list[int] = tokenizer(opening, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _refuse_near(self, prompt: Prompt) -> None:
        """Raise UserError where the short context would hold the answer, too."""
        if prompt.key[1] > prompt.answer_start - self.near:
            raise UserError(
                f"in {len(prompt.ids)} tokens the needle at depth {prompt.depth:.2f} stands among the last {self.near} "
                "before the answer; give smaller --depths, longer --lengths or a smaller near"
            )
