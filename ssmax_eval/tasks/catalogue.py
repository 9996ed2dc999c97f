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
        "key_attention": (f"{_HERE}.key_attention:KeyAttention", "weight on the needle by head, and attention fading"),
        "context_gain": (f"{_HERE}.context_gain:ContextGain", "what the distant context is worth, in nats per token"),
        "context_gain_answer": (
            f"{_HERE}.context_gain_answer:ContextGainAnswer",
            "the same for an answer that the context holds",
        ),
        "retrieval": (
            f"{_HERE}.retrieval:Retrieval",
            "values under keys in a long text: several of each, or distractors",
        ),
        "kv": (f"{_HERE}.kv:Kv", "one value of a JSON object whose keys and values are UUIDs"),
        "variable_tracking": (
            f"{_HERE}.variable_tracking:VariableTracking",
            "which variables hold a value, over some hops",
        ),
        "common_words": (f"{_HERE}.common_words:CommonWords", "which words of a long list occur often"),
        "frequent_words": (f"{_HERE}.frequent_words:FrequentWords", "which coined words of a text occur most often"),
        "graph_walk": (f"{_HERE}.graph_walk:GraphWalk", "nodes at a distance, or parents, in a list of edges"),
        "qa": (f"{_HERE}.question_answering:QA", "a question among paragraphs of which one or two hold the answer"),
        "prompts": (f"{_HERE}.own_prompts:Prompts", "anybody's prompts, from JSONL, Parquet or a data set of the hub"),
        "harness": (f"{_HERE}.harness.task:Harness", "a task of lm-evaluation-harness, by `ssmax-eval harness`"),
    }
)
