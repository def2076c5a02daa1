"""What is observed, of a hand or of anything else: its name in a batch, its shape, its likelihood, its networks."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dvae_lib.models import networks
from dvae_lib.models.objectives import at_size, log_likelihood


@dataclass(frozen=True)
class Modality:
    """What is observed: the name of its tensor in a batch, its shape (without B), and its weight λ in the bound.

    Three numbers (C, S, S) are an image; anything else is taken as a vector.
    """

    name: str
    shape: tuple[int, ...]
    weight: float = 1.0
    on_hand: float = 1.0  # precision of an image's likelihood where the hand is, as a multiple of that elsewhere

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    def log_likelihood(self, batch: Mapping[str, Tensor], mean: Tensor) -> Tensor:
        """Of what the batch holds under this modality's name, given its decoded mean: (B,); 0 where it is unknown."""
        weighted = self.on_hand != 1 and "hand" in batch
        scale = torch.where(batch["hand"], self.on_hand**-0.5, 1.0) if weighted else 1.0
        term = log_likelihood(batch[self.name], mean, scale)
        known = batch.get(f"{self.name} known")
        return term if known is None else torch.where(known, term, 0.0)


def modality(name: str, size: int, weight: float = 1.0, on_hand: float = 1.0) -> Modality:
    """One of the hand's: "image", "tag" (an image of the same content), "depth", "keypoints", "pose", "cpose" or
    "viewpoint".
    """
    images = {"image": (3, size, size), "tag": (3, size, size), "depth": (1, size, size)}
    shapes = images | {"keypoints": (21, 2), "pose": (21, 3), "cpose": (21, 3), "viewpoint": (3, 3)}
    return Modality(name, shapes[name], weight, on_hand)


def scaled_weights(modalities: Iterable[Modality]) -> tuple[dict[str, float], int]:
    """λ of every modality as it is used, and the size of the images that says so: see `objectives.at_size`."""
    modalities = list(modalities)
    size = max((m.shape[-1] for m in modalities if m.is_image), default=256)
    return {m.name: m.weight if m.is_image else at_size(m.weight, size) for m in modalities}, size


def make_encoder(m: Modality, d: int, weights: networks.Weights = "random") -> nn.Module:
    if m.is_image:
        return networks.ImageEncoder(d, channels=m.shape[0], weights=weights)
    return networks.PoseEncoder(d, m.shape)


def make_decoder(m: Modality, d: int, width: int = 1) -> nn.Module:
    if m.is_image:
        return networks.ImageDecoder(d, size=m.shape[1], channels=m.shape[0], width=width)
    return networks.PoseDecoder(d, m.shape)
