"""Chat templates: a message as a model expects it, the same on every day."""

from datetime import date
from functools import partial
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.limits import within

DATE = date(2024, 1, 1)
"""What a chat template is told when it asks for today's date: prompts must not change from day to day."""

ASKED = "strftime_now:"
"""Begins the message by which a template says which date it needs."""
FIXED = (
    "{% macro strftime_now(format) %}{% if format in fixed_dates %}{{ fixed_dates[format] }}"
    f"{{% else %}}{{{{ raise_exception('{ASKED}' ~ format) }}}}{{% endif %}}{{% endmacro %}}\n"
)
"""Put before a template, takes the place of the function that gives today's date. (A template gets no function from
outside: transformers hands it plain values only.)"""
THINKING = "enable_thinking"
"""The switch of the templates that have one."""
FORMATS = 30
"""Ways of writing a date that a template may ask for."""
TEMPLATE_SECONDS = 10.0
"""Longest that a chat template may take for one prompt; the slowest that is known takes milliseconds."""


class Rendered(NamedTuple):
    """A message in a chat template."""

    text: str
    dated: bool
    """Whether the template asked for today's date."""


def chats(tokenizer: Any, wanted: bool = True) -> bool:
    """Return whether prompts go through the chat template: there is one, and it is wanted."""
    return wanted and bool(getattr(tokenizer, "chat_template", None))


def dated(tokenizer: Any, chat: bool) -> dict[str, str]:
    """Return the date that the chat template is told, where it asks for one: a part of what identifies a run."""
    return {"date": str(DATE)} if chat and render(tokenizer, "").dated else {}


def render(tokenizer: Any, body: str, *, thinking: bool | None = None) -> Rendered:
    """Return a user's message in the tokenizer's chat template, up to where the answer begins; today is DATE.

    `thinking` switches a model's thinking on or off, where its template has a switch; None leaves it. UserError where
    the template fails, or does not come to an end.
    """
    message = [{"role": "user", "content": body}]
    options: dict[str, Any] = {"tokenize": False, "add_generation_prompt": True}
    if thinking is not None and THINKING in str(tokenizer.chat_template):
        options[THINKING] = thinking
    dates: dict[str, str] = {}
    if "strftime_now" in str(tokenizer.chat_template):
        options |= {"chat_template": FIXED + tokenizer.get_chat_template(), "fixed_dates": dates}
    for _ in range(FORMATS):
        try:
            text = str(within(TEMPLATE_SECONDS, partial(tokenizer.apply_chat_template, message, **options)))
            return Rendered(text, bool(dates))
        except Exception as error:  # a template is code, and fails in any way
            reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            before, asked, format_asked = str(error).partition(ASKED)
            if before or not asked:
                break
            dates[format_asked] = DATE.strftime(format_asked)
    raise UserError(f"the chat template of this tokenizer fails; try --no-chat-template ({reason})")
