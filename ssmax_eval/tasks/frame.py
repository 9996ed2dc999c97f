"""What stands around a text before it reaches a model: chat template, special tokens, and the tokens themselves."""

import re
from collections.abc import Sequence
from typing import Any

from ssmax_eval.errors import UserError
from ssmax_eval.tasks.chat import render

BODY = "\u241fBODY\u241f"
"""Stands for the text while a chat template is applied."""
BETWEEN_WORDS = re.compile(r'(?<=\S)(?= [A-Za-z0-9"])')
"""Where a text may be cut for its parts to be encoded apart: before a single space that begins a word."""
ANCHOR = "x"
"""Stands before a part while it is encoded, since some tokenizers put a space at the start of every text."""
CHECKED = 16_384
"""Tokens up to which every text is also encoded whole, to prove that its parts give the same."""


class Frame:
    """Put texts into the form that a model expects, and encode them.

    A word is encoded once and remembered, so that a text of 131 072 tokens that differs a little from one before takes
    a tenth of a second. That is exact where no token spans two words. It is compared with the whole text for every
    text of up to CHECKED tokens and for the first longer one; where it is not the same, texts are encoded whole. With
    `whole` they always are.
    """

    def __init__(self, tokenizer: Any, *, chat: bool, thinking: bool = False, whole: bool = False) -> None:
        self.tokenizer, self.chat, self.thinking = tokenizer, chat, thinking
        self._known: dict[str, list[int]] = {}
        self._whole_only, self._long_checked = whole, False

    def text(self, body: str, answer_prefix: str = "") -> str:
        """Return everything that a model sees before its answer: the body in the chat template, and a beginning.

        UserError where the chat template changes the body.
        """
        if not self.chat:
            return f"{body}\n{answer_prefix}" if answer_prefix else body
        before, found, after = render(self.tokenizer, BODY, thinking=self.thinking).text.partition(BODY)
        if not found or BODY in after:
            raise UserError("the chat template does not keep the message as it is; try --no-chat-template")
        return f"{before}{body}{after}{answer_prefix}"

    def ids(self, text: str) -> list[int]:
        """Return the tokens of a text, with the special tokens that begin it; a chat template has its own."""
        if self._whole_only:
            return self._whole(text)
        parts = BETWEEN_WORDS.split(text)
        new = [part for part in dict.fromkeys(parts[1:]) if part not in self._known]
        for part, ids in zip(new, self._apart(new), strict=True):
            self._known[part] = ids
        joined = self._whole(parts[0])
        for part in parts[1:]:
            joined += self._known[part]
        if len(joined) > CHECKED and self._long_checked:
            return joined
        whole = self._whole(text)
        self._long_checked |= len(joined) > CHECKED
        self._whole_only = whole != joined
        return whole

    def _apart(self, parts: Sequence[str]) -> list[list[int]]:
        """Encode parts as they stand after another word; nothing of a part whose first token begins before it."""
        if not parts:
            return []
        encoded = self.tokenizer(
            [ANCHOR + part for part in parts], add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        result = []
        for ids, offsets in zip(encoded["input_ids"], encoded["offset_mapping"], strict=True):
            skipped = sum(stop <= len(ANCHOR) for _, stop in offsets)
            result.append(ids[skipped:])
        return result

    def _whole(self, text: str) -> list[int]:
        encoded = self.tokenizer(text, add_special_tokens=not self.chat, return_special_tokens_mask=True, verbose=False)
        ids, special = list(encoded["input_ids"]), encoded["special_tokens_mask"]
        while not self.chat and ids and special[len(ids) - 1]:
            ids.pop()
        return ids
