"""vLLM as an engine, and the plugin by which a stock vLLM serves a folder that `convert` made.

The plugin multiplies the query by c(n) before vLLM's own attention, so it runs the attentions that do no more than
that. A checkpoint names its attention in its config, and an architecture that only a vLLM with the plugin knows.
"""


def register() -> None:
    """Make our architecture known to vLLM: its entry point `vllm.general_plugins` calls this in every process.

    It may be called again. Our code is imported when a checkpoint asks for the architecture.
    """
    from ssmax_eval.vllm.plugin import install

    install()
