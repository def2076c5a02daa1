"""Modalities, of a hand or of anything else: their names in a batch, shapes, likelihoods and networks."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dvae_lib.files import UserError
from dvae_lib.models import networks
from dvae_lib.models.objectives import Bound, PerSample, Terms, categorical_log_likelihood, log_likelihood

# Names that latents and reports use, and the attributes of torch's ModuleDict.
_RESERVED = {"u", "kl", "factors", "mean pose"} | set(dir(nn.ModuleDict()))
_MASK = " known"

MOST_CONTENTS = 256  # people, or rooms, that a data set can have; unused classes never occur

# By modality name: functions that create an encoder and a decoder for a number of dimensions of the latent.
Factory = Callable[[int], nn.Module] | None
OwnNetworks = Mapping[str, tuple[Factory, Factory]]


@dataclass(frozen=True)
class Modality:
    """A modality: the name of its tensor in a batch, its shape (without B), and its weight λ in the bound.

    shape: three numbers (C, H, W) are an image; anything else is treated as a vector.
    categories: K for a label that is one of K classes, int64 (B,) in a batch. It is encoded one-hot and decoded to
        logits (B, K); its log-likelihood is minus the cross-entropy in nats.
    foreground_precision: precision of an image's likelihood where the batch's mask "hand" is true, as a multiple of
        the precision elsewhere.

    Raises UserError if one of these is invalid.
    """

    name: str
    shape: tuple[int, ...] = ()
    weight: float = 1.0
    foreground_precision: float = 1.0
    categories: int = 0

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        if not self.name or self.name in _RESERVED or "." in self.name or self.name.endswith(_MASK):
            raise UserError(
                f"A modality cannot be called “{self.name}”: the name is reserved, empty, contains a dot or ends in "
                f"“{_MASK.strip()}”. Choose another, such as “{self.name.strip('.') or 'label'}_1”."
            )
        if not all(isinstance(n, int) and n > 0 for n in self.shape) or bool(self.shape) == bool(self.categories):
            raise UserError(
                f"“{self.name}” is declared with the shape {self.shape} and {self.categories} categories: give either "
                "a shape of positive integers, such as (3, 64, 64) or (4,), or a number of categories."
            )
        if self.categories == 1 or self.categories < 0:
            raise UserError(f"“{self.name}” has {self.categories} categories: a label must have two or more.")
        if self.weight < 0 or self.foreground_precision <= 0:
            raise UserError(f"“{self.name}”: its weight must be 0 or more, its foreground_precision more than 0.")

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3

    @property
    def decoded_shape(self) -> tuple[int, ...]:
        """Shape (without B) of what is decoded: the modality's own, or that of its logits."""
        return (self.categories,) if self.categories else self.shape

    def observed(self, batch: Mapping[str, Tensor]) -> Tensor:
        """The batch's tensor (B, *shape) of this name, with zeros where a mask marks it as unknown."""
        x, known = batch[self.name], batch.get(self.name + _MASK)
        return x if known is None else torch.where(known.view(-1, *[1] * (x.ndim - 1)), x, torch.zeros_like(x))

    def log_likelihood(self, batch: Mapping[str, Tensor], mean: Float[Tensor, " B *shape"]) -> PerSample:
        """The log-likelihood of the batch's tensor of this name, given its decoded mean: (B,); 0 if unknown."""
        x, known = self.observed(batch), batch.get(self.name + _MASK)
        if self.categories:
            term = categorical_log_likelihood(x, mean)
        else:
            weighted = self.foreground_precision != 1 and "hand" in batch
            scale = torch.where(batch["hand"], self.foreground_precision**-0.5, 1.0) if weighted else 1.0
            term = log_likelihood(x, mean, scale)
        return term if known is None else torch.where(known, term, 0.0)


def modality(name: str, size: int, weight: float = 1.0, foreground_precision: float = 1.0) -> Modality:
    """A modality of the hand: "image", "tag" (an image of the same content), "depth", "keypoints", "pose", "cpose",
    "viewpoint", "place" (of the crop in the camera's view) or "content" (the number of its person or room).
    """
    if name == "content":
        return Modality(name, weight=weight, categories=MOST_CONTENTS)
    images = {"image": (3, size, size), "tag": (3, size, size), "depth": (1, size, size)}
    shapes = images | {"keypoints": (21, 2), "pose": (21, 3), "cpose": (21, 3), "viewpoint": (3, 3), "place": (3,)}
    return Modality(name, shapes[name], weight, foreground_precision)


def known_samples(name: str, batch: Mapping[str, Tensor]) -> Tensor:
    """For which samples of a batch (B,) a modality is known: all, unless there is a mask."""
    return batch.get(name + _MASK, torch.ones(len(batch[name]), dtype=torch.bool, device=batch[name].device))


def where_known(modalities: Iterable[Modality], batch: Mapping[str, Tensor], bound: PerSample, terms: Terms) -> Bound:
    """A bound (B,) and its terms, with 0 for the samples in which one of the modalities that z is encoded from is
    unknown.
    """
    masks = [batch[m.name + _MASK] for m in modalities if m.name + _MASK in batch]
    if not masks:
        return bound, terms
    known, zero = torch.stack(masks).all(0), torch.zeros_like(bound)
    return torch.where(known, bound, zero), {name: torch.where(known, term, zero) for name, term in terms.items()}


def check_batch(modalities: Sequence[Modality], batch: Mapping[str, Tensor]) -> None:
    """Raises UserError if a batch lacks one of the modalities, or if it or its mask does not match the declaration.

    Otherwise a label of shape (B,) would be broadcast against a decoded (B, 1), and its mean be learnt without error.
    """
    size = None
    for m in modalities:
        if m.name not in batch:
            raise UserError(f"The batch has no “{m.name}”, which the model learns from; it has {', '.join(batch)}.")
        x = batch[m.name]
        size = len(x) if size is None else size
        right_type = x.dtype == torch.int64 if m.categories else x.is_floating_point()
        if not right_type or x.shape != (size, *m.shape):
            kind = f"int64, a class from 0 to {m.categories - 1}" if m.categories else "floating point"
            raise UserError(
                f"“{m.name}” is declared as {_shown(m.shape)}, {kind}, but in the batch, with B = {size}, it is "
                f"{tuple(x.shape)} {x.dtype}. Change the declaration, or the data."
            )
        known = batch.get(m.name + _MASK)
        if known is not None and (known.dtype != torch.bool or known.shape != (size,)):
            raise UserError(
                f"The mask “{m.name + _MASK}” is {known.dtype} {tuple(known.shape)}: it must be bool ({size},), true "
                "for the samples whose label is known."
            )
        if m.categories and not ((m.observed(batch) >= 0) & (m.observed(batch) < m.categories)).all():
            raise UserError(f"“{m.name}” contains classes that are not between 0 and {m.categories - 1}.")


def _shown(shape: Sequence[int]) -> str:
    return f"(B, {', '.join(map(str, shape))})" if len(shape) else "(B,)"


class OneHot(nn.Module):
    """Classes, int64 (B,) → (B, K), 1 at the class and 0 elsewhere."""

    def __init__(self, categories: int):
        super().__init__()
        self.categories = categories

    def forward(self, label: Tensor) -> Tensor:
        return nn.functional.one_hot(label, self.categories).float()


def make_encoder(
    m: Modality, d: int, pretrained: networks.Pretrained = "random", own: OwnNetworks | None = None
) -> nn.Module:
    """The network from a modality (B, *shape) to a Gaussian over (B, d): your own, or the paper's."""
    factory = (own or {}).get(m.name, (None, None))[0]
    if factory:
        return factory(d)
    if m.is_image:
        return networks.ImageEncoder(d, channels=m.shape[0], pretrained=pretrained)
    encoder = networks.PoseEncoder(d, m.decoded_shape)
    return nn.Sequential(OneHot(m.categories), encoder) if m.categories else encoder


def make_decoder(m: Modality, d: int, width: int = 1, own: OwnNetworks | None = None) -> nn.Module:
    """The network from a latent (B, d) to the mean (B, *shape) of a modality, or to its logits."""
    factory = (own or {}).get(m.name, (None, None))[1]
    if factory:
        return factory(d)
    if m.is_image:
        return networks.ImageDecoder(d, m.shape, width=width)
    return networks.PoseDecoder(d, m.decoded_shape)
