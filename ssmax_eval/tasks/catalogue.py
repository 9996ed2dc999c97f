"""The tasks by name. A task is one file, one line here, and one YAML file in `tasks/`."""

from typing import TYPE_CHECKING

from ssmax_eval.catalogue import Catalogue

if TYPE_CHECKING:
    from ssmax_eval.tasks.base import Task

_HERE = "ssmax_eval.tasks"

TASKS: "Catalogue[Task]" = Catalogue(
    {
        "niah": (f"{_HERE}.niah:Niah", "needle in a haystack: retrieval by context length and depth"),
        "niah_dense": (f"{_HERE}.dense:NiahDense", "one needle for each depth in one haystack: much faster than niah"),
        "loss": (f"{_HERE}.loss:Loss", "test loss by position and by length, in nats per token"),
        "qa": (f"{_HERE}.question_answering:QA", "a question among paragraphs of which one or two hold the answer"),
        "prompts": (f"{_HERE}.own_prompts:Prompts", "anybody's prompts, from JSONL, Parquet or a data set of the hub"),
        "key_attention": (f"{_HERE}.key_attention:KeyAttention", "weight on the needle by head, and attention fading"),
    }
)
