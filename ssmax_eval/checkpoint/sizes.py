"""How wide a model is, read from its config: what its memory and its speed follow from."""

from typing import Any, NamedTuple


class Sizes(NamedTuple):
    """Widths of a model, in numbers a token; those of the widest layer where layers differ."""

    layers: int
    heads: int
    """Query heads of a layer."""
    groups: int
    """Key-value heads of a layer."""
    width: int
    """Width of a head."""
    hidden: int
    inner: int
    """Width inside the feed-forward part."""

    @property
    def cache(self) -> int:
        """Keys and values of all layers."""
        return 2 * self.layers * self.groups * self.width


def sizes_of(config: Any) -> Sizes:
    """Return the sizes of a model of text by its transformers config."""
    text = config.get_text_config(decoder=True)

    def widest(name: str, otherwise: int) -> int:
        value = getattr(text, name, None) or otherwise
        return max(value) if isinstance(value, list | tuple) else int(value)

    heads = int(getattr(text, "num_attention_heads", 0) or 1)
    hidden = widest("hidden_size", 64 * heads)
    return Sizes(
        layers=int(text.num_hidden_layers),
        heads=heads,
        groups=widest("num_key_value_heads", heads),
        width=widest("head_dim", hidden // heads),
        hidden=hidden,
        inner=widest("intermediate_size", 4 * hidden),
    )
