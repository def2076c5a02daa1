"""The image decoders in half precision, small enough to be stored with the figures."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save as as_bytes
from torch import nn

from dvae_lib.files import atomic_write
from dvae_lib.models import DVAE


def image_network(model: DVAE) -> nn.Module:
    """The network from z to the image; a shared decoder's branch for poses, with most of its weights, is omitted."""
    if model.shared is None:
        return model.decoders["image"]
    return nn.Sequential(model.shared.shared, model.shared.image)


def save(models: Mapping[str, DVAE], path: Path) -> None:
    """Writes the image networks of several models, each weight under its model's name."""
    kept = {
        f"{name}.{key}": tensor.half().contiguous() if tensor.is_floating_point() else tensor
        for name, model in models.items()
        for key, tensor in image_network(model).state_dict().items()
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(as_bytes(kept, {"dtype": str(torch.float16)}))
