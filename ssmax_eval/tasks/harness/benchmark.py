"""A benchmark of lm-evaluation-harness: its documents, what it asks of a model, and what comes of the answers.

Which prompts there are and how answers are scored is decided by the harness alone.
"""

import copy
import hashlib
import inspect
import json
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ssmax_eval.errors import UserError
from ssmax_eval.model.harness import quiet
from ssmax_eval.tasks.harness import seam
from ssmax_eval.tasks.harness.names import Asked, begin_drawing, loaded, said

PLACES = {
    *("task", "task_alias", "tag", "group", "dataset_path", "dataset_name", "dataset_kwargs"),
    *("metadata", "num_fewshot"),
}
"""Parts of a configuration that say where it stands, or that a run says otherwise."""


class Wording(NamedTuple):
    """How the prompts of a benchmark are made."""

    shots: int | None
    """Solved examples before each question; None: as the benchmark says."""
    chat_template: bool
    """Whether prompts go through the tokenizer's chat template."""
    seed: int
    """Draws the examples."""


class Scored(NamedTuple):
    """What came of one document."""

    metrics: dict[str, Any]
    """As the harness keeps them, by its names: `acc,none`."""
    requests: list[Any]
    """The harness's own `Instance`s, with answers."""


class Benchmark:
    """One task of the harness, with all its requests. UserError where it asks for what is not done here."""

    def __init__(self, name: str, asked: Asked, wording: Wording, tokenizer: Any) -> None:
        self.name, self.wording, self.tokenizer = name, wording, tokenizer
        task = loaded(asked).tasks.get(name)
        if task is None:
            raise UserError(f"{asked.name!r} no longer holds task {name!r}")
        if getattr(task, "UNSAFE_CODE", False):
            raise UserError(f"task {name!r} runs code that a model has written, which is not done here")
        if getattr(task, "MULTIMODAL", False):
            raise UserError(f"task {name!r} asks about images or sound; only text is read here")
        self.task = copy.copy(task)  # its number of examples is set
        seam.own_config(self.task)
        own = task.get_config("num_fewshot")
        self.shots: int = (own or 0) if own == 0 or wording.shots is None else wording.shots
        self.task.set_config(key="num_fewshot", value=self.shots)

    @cached_property
    def requests(self) -> list[list[Any]]:
        """What each document asks of a model, in the harness's own `Instance`s."""
        chat = self._chat if self.wording.chat_template else None
        self.task.set_fewshot_seed(seed=self.wording.seed)
        begin_drawing()
        try:
            with quiet():
                self.task.build_all_requests(
                    apply_chat_template=chat is not None, fewshot_as_multiturn=True, chat_template=chat
                )
        except Exception as error:  # prompts are made by code of the task
            raise UserError(f"the prompts of task {self.name!r} cannot be made: {said(error)}") from None
        found: dict[int, list[Any]] = {}
        for instance in self.task.instances:
            found.setdefault(int(instance.doc_id), []).append(instance)
        return [sorted(found[number], key=lambda one: int(one.idx)) for number in sorted(found)]

    @cached_property
    def tokens(self) -> list[int]:
        """How many tokens the longest request of each document has, the answer and its budget included."""
        texts = list(dict.fromkeys(self._text(one) for some in self.requests for one in some))
        ids = self.tokenizer(texts, verbose=False)["input_ids"]
        sizes = dict(zip(texts, map(len, ids), strict=True))
        return [max(sizes[self._text(one)] + _budget(one) for one in some) for some in self.requests]

    @cached_property
    def budget(self) -> int:
        """Tokens that an answer may have, at most; 0 where nothing is written."""
        writing = (one for some in self.requests for one in some if one.request_type == "generate_until")
        return max(map(_budget, writing), default=0)

    @cached_property
    def data(self) -> str:
        """A digest of the documents, and of those that examples are drawn from."""
        sha = hashlib.sha256()
        for document in (*self.task.eval_docs, *(self.task.fewshot_docs() or () if self.shots else ())):
            sha.update(json.dumps(document, default=_as_text, sort_keys=True).encode(errors="surrogatepass"))
        return sha.hexdigest()[:12]

    @cached_property
    def config(self) -> str:
        """A digest of how prompts are worded and answers are scored, and of the code of both."""
        config = {name: value for name, value in self.task.config.to_dict(True).items() if name not in PLACES}
        return hashlib.sha256(json.dumps(config, default=_as_text, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def version(self) -> str:
        """The version of the benchmark, as its task file says it."""
        return str(self.task.VERSION)

    def measure(self, lm: Any, documents: Sequence[int]) -> Iterator[Scored]:
        """Run the requests of some documents on a model of the harness, and yield what came of each."""
        asked = [[_fresh(one) for one in self.requests[number]] for number in documents]
        flat = [one for some in asked for one in some]
        for kind in dict.fromkeys(one.request_type for one in flat):
            mine = [one for one in flat if one.request_type == kind for _ in range(one.repeats or 1)]
            with quiet():
                answers = getattr(lm, kind)(mine, disable_tqdm=True)
            for one, answer in zip(mine, answers, strict=True):
                one.resps.append(answer)
        seam.keep_requests(self.task, flat)
        with quiet():
            self.task.apply_filters()
        for some in asked:
            found: dict[str, Any] = {}
            for name in some[0].filtered_resps:
                with quiet():
                    metrics = self.task.process_results(some[0].doc, [one.filtered_resps[name] for one in some])
                found |= {f"{metric},{name}": value for metric, value in metrics.items()}
            yield Scored(found, some)

    def _text(self, instance: Any) -> str:
        """All that a model reads in a request, without the first token that the tokenizer puts there itself."""
        text = "".join(part for part in instance.args if isinstance(part, str))
        return text.removeprefix(getattr(self.tokenizer, "bos_token", None) or "")

    def _chat(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Messages in the chat template, as the harness puts them there."""
        options = {
            "tokenize": False,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
        }
        try:
            return str(self.tokenizer.apply_chat_template(messages, **options))
        except Exception:  # a template that knows no system role
            kept = [message for message in messages if message["role"] != "system"]
            return str(self.tokenizer.apply_chat_template(kept, **options))


@lru_cache(maxsize=256)
def benchmark(name: str, asked: Asked, wording: Wording, tokenizer: Any) -> Benchmark:
    """Return a benchmark, the same one for the same question."""
    return Benchmark(name, asked, wording, tokenizer)


def _fresh(instance: Any) -> Any:
    """The same request, without answers."""
    fresh = copy.copy(instance)
    fresh.resps, fresh.filtered_resps = [], {}
    return fresh


def _budget(instance: Any) -> int:
    """Tokens of a request besides its text: what may be written, or the one that a whole text begins with."""
    from lm_eval.models.utils import normalize_gen_kwargs

    if instance.request_type == "generate_until":
        return int(normalize_gen_kwargs(instance.args[1])["max_gen_toks"])
    return int(instance.request_type == "loglikelihood_rolling")


def _as_text(value: Any) -> Any:
    """A value that JSON does not have: code by the file that it stands in, anything else by what it holds."""
    if callable(value):
        try:
            return Path(inspect.getsourcefile(value) or "").read_text(encoding="utf-8")
        except (TypeError, OSError, UnicodeDecodeError):
            return getattr(value, "__qualname__", type(value).__qualname__)
    if hasattr(value, "tolist"):
        return value.tolist()
    return vars(value) if hasattr(value, "__dict__") else type(value).__qualname__
