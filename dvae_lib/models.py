r"""The cross-modal VAE of Spurr et al. (CVPR 2018), the paper's Sec. 3.1 and Eq. 1 (chapter 03).

One latent z, and for every modality an encoder $q(z \mid x_m)$ to it and a decoder $p(x_m \mid z)$ from it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from dvae_lib import networks
from dvae_lib.objectives import at_size, elbo, kl_to_prior, log_likelihood


@dataclass(frozen=True)
class Modality:
    """What is observed: the name of its tensor in a batch, its shape (without B), and its weight λ in the bound."""

    name: str
    shape: tuple[int, ...]
    weight: float = 1.0

    @property
    def is_image(self) -> bool:
        return len(self.shape) == 3


def modality(name: str, size: int, weight: float = 1.0) -> Modality:
    """One of the hand's modalities: "image", "depth", "keypoints" or "pose"."""
    shapes = {"image": (3, size, size), "depth": (1, size, size), "keypoints": (21, 2), "pose": (21, 3)}
    return Modality(name, shapes[name], weight)


def make_encoder(m: Modality, d: int, weights: networks.Weights = "random") -> nn.Module:
    if m.is_image:
        return networks.ImageEncoder(d, channels=m.shape[0], weights=weights)
    return networks.PoseEncoder(d, m.shape)


def make_decoder(m: Modality, d: int, width: int = 1) -> nn.Module:
    if m.is_image:
        return networks.ImageDecoder(d, size=m.shape[1], channels=m.shape[0], width=width)
    return networks.PoseDecoder(d, m.shape)


class CrossModalVAE(nn.Module):
    """A VAE over any set of modalities that share one latent (B, d).

    encoded: the modalities to encode from; all `modalities` by default. All are decoded.
    """

    def __init__(
        self,
        modalities: Iterable[Modality],
        d: int = 64,
        beta: float = 1.0,
        encoded: Iterable[str] | None = None,
        weights: networks.Weights = "random",
        width: int = 1,
    ):
        super().__init__()
        self.modalities = {m.name: m for m in modalities}
        self.d = d
        self.encoders = nn.ModuleDict(
            {name: make_encoder(self.modalities[name], d, weights) for name in (encoded or self.modalities)}
        )
        self.decoders = nn.ModuleDict({m.name: make_decoder(m, d, width) for m in self.modalities.values()})
        size = max((m.shape[-1] for m in self.modalities.values() if m.is_image), default=256)
        self.beta = at_size(beta, size)
        self.weights = {m.name: m.weight if m.is_image else at_size(m.weight, size) for m in self.modalities.values()}

    def encode(self, name: str, x: Tensor) -> Normal:
        """q(z | x) of the modality `name`, over (B, d)."""
        return self.encoders[name](x)

    def decode(self, z: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The mean of p(x_m | z) for each modality (all by default): {name: (B, *shape)}."""
        return {name: self.decoders[name](z) for name in (names or self.decoders)}

    def translate(self, source: str, x: Tensor, target: str) -> Tensor:
        """One modality read from another, through the mean of q(z | x): (B, *shape of target)."""
        return self.decode(self.encode(source, x).mean, [target])[target]

    def bounds(
        self, sources: Iterable[str], batch: Mapping[str, Tensor]
    ) -> dict[str, tuple[Tensor, dict[str, Tensor]]]:
        """Eq. 1 for each source, z drawn once from q(z | x_source): the bound (B,), and its terms (B,) by name."""
        posteriors = {source: self.encode(source, batch[source]) for source in sources}
        # The latents of all sources are decoded in one pass: batch normalisation sees them as one batch.
        means = self.decode(torch.cat([q.rsample() for q in posteriors.values()]))
        result = {}
        for i, (source, q) in enumerate(posteriors.items()):
            own = {name: mean.chunk(len(posteriors))[i] for name, mean in means.items()}
            likelihoods = {name: log_likelihood(batch[name], mean) for name, mean in own.items()}
            kl = kl_to_prior(q)
            result[source] = elbo(likelihoods, kl, self.weights, self.beta), likelihoods | {"kl": kl}
        return result

    def forward(self, batch: Mapping[str, Tensor], sources: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, minus the mean bound over the batch and the source modalities, and the terms' means.

        Joint training passes all modalities as sources; alternating training (Spurr et al.) one a step.
        """
        bounds = self.bounds(sources, batch)
        loss = -torch.stack([bound for bound, _ in bounds.values()]).mean()
        record = {
            f"{source}→{name}": term.detach().mean()
            for source, (_, terms) in bounds.items()
            for name, term in terms.items()
        }
        return loss, record
