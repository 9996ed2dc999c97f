"""The model that is trained: a small Llama under any attention, and the checkpoint folder it becomes."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from ssmax_eval.attention import Attention, Shape, describe, parse
from ssmax_eval.attention.auto import Auto
from ssmax_eval.attention.parameters import PerHead
from ssmax_eval.checkpoint import Checkpoint
from ssmax_eval.checkpoint.config import into_config
from ssmax_eval.checkpoint.own_code import OwnCode, own_code
from ssmax_eval.errors import UserError
from ssmax_eval.model.convert import save_config
from ssmax_eval.rewriting import rewritten
from ssmax_eval.train.recipe import Recipe


@dataclass(frozen=True)
class Plan:
    """An attention to train with."""

    attention: Attention
    """With its parameters for this shape; those to be learned have the value that they start from."""
    learned: tuple[str, ...]
    """Parameters that are learned."""
    code: OwnCode | None = None
    """The code of an attention of the user's own, as it was when the training began."""

    @property
    def for_config(self) -> Attention:
        """The attention that the config of the trained checkpoint names; what was learned is among the weights."""
        blank: dict[str, Any] = dict.fromkeys(self.learned)
        return replace(self.attention, **blank)

    @property
    def label(self) -> str:
        learned = f" (learns {', '.join(self.learned)})" if self.learned else ""
        return describe(self.attention) + learned


def plan(recipe: Recipe, shape: Shape) -> Plan:
    """Return the recipe's attention for a checkpoint of this shape. UserError where it cannot learn as wanted."""
    chosen = parse(recipe.attention)
    given = shape.from_config if isinstance(chosen, Auto) and shape.from_config else chosen
    resolved = chosen.resolve(shape)
    learnable = {name for name, hint in get_type_hints(type(resolved)).items() if hint == PerHead | None}
    learnable |= set(resolved.learned)
    if fixed := [f.name for f in fields(resolved) if f.name in resolved.learned and f.default is not None]:
        raise UserError(
            f"{type(resolved).__name__} learns {fixed[0]!r}, so the field must be None by default; the method `start` "
            "says what it is at first"
        )
    if recipe.learn == ("auto",):
        learned = tuple(name for name in resolved.learned if getattr(given, name, None) is None)
    elif strange := sorted(set(recipe.learn) - learnable):
        raise UserError(
            f"{recipe.attention!r} cannot learn {strange[0]!r}; "
            + (f"it can learn: {', '.join(sorted(learnable))}" if learnable else "it has no parameter that is learned")
        )
    else:
        learned = recipe.learn
    if learned and resolved.layers is not None:
        raise UserError(f"{recipe.attention!r} rewrites some of the layers; learning needs all of them, or learn: []")
    into_config(LlamaConfig(), resolved)  # raises what no config can hold
    return Plan(resolved, learned, own_code(type(resolved)))


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Return a Llama with weights drawn from the recipe's seed."""
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.width,
        intermediate_size=recipe.mlp_width or recipe.width * 8 // 3 // 16 * 16,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=recipe.train_length,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        initializer_range=recipe.init_std or recipe.width**-0.5,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    torch.manual_seed(recipe.seed)
    return LlamaForCausalLM(config)


def load_model(checkpoint: Checkpoint, recipe: Recipe) -> LlamaForCausalLM:
    """Return the model of a checkpoint, in float32. UserError where it is not what the recipe describes."""
    config = checkpoint.config
    wanted = {
        "model_type": "llama",
        "num_hidden_layers": recipe.layers,
        "num_attention_heads": recipe.heads,
        "hidden_size": recipe.width,
        "max_position_embeddings": recipe.train_length,
    }
    for name, value in wanted.items():
        if (there := getattr(config, name, None)) != value:
            raise UserError(f"{checkpoint.name!r} has {name} {there}, the recipe {value}; they must be the same")
    return checkpoint.load()


@contextmanager
def learning(hf: LlamaForCausalLM, chosen: Plan, shape: Shape) -> Iterator[None]:
    """Run `hf` under the attention of the plan, the learned parameters as torch parameters of its modules.

    Each is called `ssmax_` and its name, has the shape [heads] or a table's, and is saved with the other weights.
    """
    with rewritten(hf, chosen.attention, shape=shape) as rewriting:
        for i, layer in enumerate(hf.model.layers):
            for name in chosen.learned:
                values = torch.tensor(_start(chosen.attention, name, i, shape))
                layer.self_attn.register_parameter(f"ssmax_{name}", nn.Parameter(values.to(hf.device)))
        rewriting.learned = {name: f"ssmax_{name}" for name in chosen.learned}
        # On a processor the fused kernel's backward pass is slower than plain products of short sequences.
        with sdpa_kernel(SDPBackend.MATH) if hf.device.type == "cpu" else nullcontext():
            yield


def _start(attention: Attention, name: str, layer: int, shape: Shape) -> list[float]:
    """The numbers that a learned parameter of one layer starts from. UserError where it has no value."""
    given: float | tuple[tuple[float, ...], ...] | None = getattr(attention, name)
    if isinstance(given, tuple):
        return list(given[layer])
    if given is None:
        given = attention.start(name, shape)
    return [float(given)] * attention.size(name, shape)


def learned(hf: LlamaForCausalLM, chosen: Plan) -> dict[str, list[list[float]]]:
    """Return the learned parameters of the attention by name: a list for each layer."""
    parts = [layer.self_attn for layer in hf.model.layers]
    return {name: [getattr(part, f"ssmax_{name}").tolist() for part in parts] for name in chosen.learned}


def write(hf: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, chosen: Plan, folder: Path) -> None:
    """Write a checkpoint folder that names its attention: config, weights, tokenizer, and the code of the user's."""
    if chosen.code is not None:
        chosen.code.write(folder)
    tokenizer.save_pretrained(folder)
    hf.save_pretrained(folder)
    into_config(hf.config, chosen.for_config)
    save_config(hf.config, folder)
