"""Anybody's benchmark: the tasks of lm-evaluation-harness on a model under any attention."""
