"""Put another attention into a transformers model, prove it, and take it out again."""

from ssmax_eval.rewriting.register import register
from ssmax_eval.rewriting.rewriting import Rewriting
from ssmax_eval.rewriting.rewritten import refuse_by_config, rewritten

__all__ = ["Rewriting", "refuse_by_config", "register", "rewritten"]
