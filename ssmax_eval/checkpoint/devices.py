"""Where the parts of a model lie, when they are spread over devices (`device_map`)."""

import torch
from transformers import PreTrainedModel


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
