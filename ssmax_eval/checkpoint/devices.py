"""The device of a name, and where the parts of a model lie that is spread over several (`device_map`)."""

import torch
from transformers import PreTrainedModel

from ssmax_eval.checkpoint.places import first_line
from ssmax_eval.errors import UserError, shown


def device_of(name: str) -> torch.device:
    """Return the device of a name; "auto" is a GPU where there is one. UserError where this machine has none such."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"no such device {shown(name)} on this machine: {first_line(error)}") from None
    return device


def input_device(hf: PreTrainedModel) -> torch.device:
    """Return the device on which a model takes its tokens.

    Weights that are kept elsewhere until they are needed (accelerate's offload) are on torch's meta device meanwhile;
    the hook that brings them says where they run.
    """
    embedding = hf.get_input_embeddings()
    place = getattr(getattr(embedding, "_hf_hook", None), "execution_device", None)
    if place is None:
        found: torch.device = embedding.weight.device
        return found
    if isinstance(place, int):
        kind = torch.accelerator.current_accelerator()
        return torch.device("cuda" if kind is None else kind.type, place)
    return torch.device(place)


def is_spread(hf: PreTrainedModel) -> bool:
    """Whether layers run on several devices."""
    places = {str(place) for place in (getattr(hf, "hf_device_map", None) or {}).values()}
    return len(places - {"disk"}) > 1
