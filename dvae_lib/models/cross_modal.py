r"""The cross-modal VAE (Sec. 3.1; Spurr et al., CVPR 2018; chapter 03): one latent z for several modalities.

For every modality there is an encoder $q(z \mid x_m)$ and a decoder $p(x_m \mid z)$.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from dvae_lib.models import networks
from dvae_lib.models.modalities import Modality, make_decoder, make_encoder, scaled_weights
from dvae_lib.models.objectives import Bounds, at_size, elbo, kl_to_prior, reparameterize


class CrossModalVAE(nn.Module):
    """A VAE over any set of modalities that share one latent (B, d).

    encoded, decoded: the modalities to encode from, and to decode; all by default.
    """

    def __init__(
        self,
        modalities: Iterable[Modality],
        d: int = 64,
        beta: float = 1.0,
        encoded: Iterable[str] | None = None,
        weights: networks.Weights = "random",
        width: int = 1,
        decoded: Iterable[str] | None = None,
    ):
        super().__init__()
        self.modalities = {m.name: m for m in modalities}
        self.d = d
        targets = [self.modalities[name] for name in (decoded or self.modalities)]
        self.encoders = nn.ModuleDict(
            {name: make_encoder(self.modalities[name], d, weights) for name in (encoded or self.modalities)}
        )
        self.decoders = nn.ModuleDict({m.name: make_decoder(m, d, width) for m in targets})
        self.weights, size = scaled_weights(targets)
        self.beta = at_size(beta, size)

    def encode(self, name: str, x: Tensor) -> Normal:
        """q(z | x) of the modality `name`, over (B, d)."""
        return self.encoders[name](x)

    def decode(self, z: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The mean of p(x_m | z) for each modality (all by default): {name: (B, *shape)}."""
        return {name: self.decoders[name](z) for name in (names or self.decoders)}

    def translate(self, source: str, x: Tensor, target: str) -> Tensor:
        """One modality read from another, through the mean of q(z | x): (B, *shape of target)."""
        return self.decode(self.encode(source, x).mean, [target])[target]

    def read(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """All that is decoded from the mean of every encoder: {source: {name: (B, *shape)}}."""
        return {source: self.decode(self.encode(source, batch[source]).mean) for source in self.encoders}

    def bounds(self, batch: Mapping[str, Tensor], sources: Iterable[str] | None = None) -> Bounds:
        """Eq. 1 for each source (all by default), z drawn once from q(z | x_source)."""
        posteriors = {source: self.encode(source, batch[source]) for source in (sources or self.encoders)}
        # The latents of all sources are decoded in one pass: batch normalisation sees them as one batch.
        means = self.decode(torch.cat([reparameterize(q) for q in posteriors.values()]))
        result = {}
        for i, (source, q) in enumerate(posteriors.items()):
            own = {name: mean.chunk(len(posteriors))[i] for name, mean in means.items()}
            likelihoods = {name: self.modalities[name].log_likelihood(batch, mean) for name, mean in own.items()}
            kl = kl_to_prior(q)
            result[source] = elbo(likelihoods, kl, self.weights, self.beta), likelihoods | {"kl": kl}
        return result

    def forward(self, batch: Mapping[str, Tensor], sources: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, minus the mean bound over the batch and the source modalities, and the terms' means.

        Joint training passes all modalities as sources; alternating training (Spurr et al.) one a step.
        """
        bounds = self.bounds(batch, sources)
        loss = -torch.stack([bound for bound, _ in bounds.values()]).mean()
        record = {
            f"{source}→{name}": term.detach().mean()
            for source, (_, terms) in bounds.items()
            for name, term in terms.items()
        }
        return loss, record
