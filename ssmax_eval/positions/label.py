"""What an attention under a position map is called. Importing this imports no torch."""

COLUMN = "position_map"
"""Column of results that names the map; it is there only where a run has one."""


def label(attention: str, position: str | None) -> str:
    """Return the name of both, as in "ssmax:s=0.125 + rerope:window=4096"; of the attention alone without a map."""
    return f"{attention} + {position}" if position else attention
