r"""The cross-modal VAE (Sec. 3.1; Spurr et al., CVPR 2018; chapter 03): one latent z for several modalities.

For every modality there is an encoder $q(z \mid x_m)$ and a decoder $p(x_m \mid z)$.
"""

from collections.abc import Iterable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dvae_lib.models.modalities import Modality, OwnNetworks, make_decoder, make_encoder, where_known
from dvae_lib.models.networks import Pretrained
from dvae_lib.models.objectives import Bounds, elbo, kl_to_prior, reparameterize
from dvae_lib.models.saving import SavedModule, describe


class CrossModalVAE(SavedModule):
    """A VAE over any set of modalities that share one latent (B, d).

    beta: β of Eq. 1; λ are the modalities' weights. Neither is rescaled.
    encoded, decoded: the names of the modalities to encode from, and to decode; all by default.
    pretrained: the initial weights of ResNet-18. width: multiplies the image decoder's numbers of kernels.
    networks: your own networks by modality: a pair of functions that create, for d dimensions, an encoder, whose
        forward returns a Normal over (B, d), and a decoder; None in place of either selects the paper's.
    """

    def __init__(
        self,
        modalities: Iterable[Modality],
        d: int = 64,
        beta: float = 1.0,
        encoded: Iterable[str] | None = None,
        pretrained: Pretrained = "random",
        width: int = 1,
        decoded: Iterable[str] | None = None,
        networks: OwnNetworks | None = None,
    ):
        super().__init__()
        self.modalities = {m.name: m for m in modalities}
        self.d, self.beta = d, beta
        encoded, decoded = list(encoded or self.modalities), list(decoded or self.modalities)
        self.encoders = nn.ModuleDict(
            {name: make_encoder(self.modalities[name], d, pretrained, networks) for name in encoded}
        )
        self.decoders = nn.ModuleDict(
            {name: make_decoder(self.modalities[name], d, width, networks) for name in decoded}
        )
        self.lambdas = {name: self.modalities[name].weight for name in decoded}
        self.declaration = {
            "modalities": describe(list(self.modalities.values())),
            "d": d,
            "beta": beta,
            "encoded": encoded,
            "width": width,
            "decoded": decoded,
            "networks": list(networks or {}),
        }

    def needs(self, _, /) -> list[Modality]:
        """The modalities that a training batch must contain, whichever sources a step encodes."""
        return [self.modalities[name] for name in dict.fromkeys([*self.encoders, *self.decoders])]

    def encode(self, source: str, x: Tensor) -> Normal:
        """q(z | x) of the modality `source`, over (B, d)."""
        return self.encoders[source](x)

    def decode(self, z: Float[Tensor, "B d"], names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The mean of p(x_m | z) of each modality (all by default), or a label's logits: {name: (B, *shape)}."""
        return {name: self.decoders[name](z) for name in (names or self.decoders)}

    def translate(self, source: str, x: Tensor, target: str) -> Tensor:
        """One modality predicted from another, through the mean of q(z | x): (B, *shape of target)."""
        return self.decode(self.encode(source, x).mean, [target])[target]

    def predictions(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """All modalities decoded from the mean of every encoder: {source: {name: (B, *shape)}}."""
        return {source: self.decode(self.encode(source, batch[source]).mean) for source in self.encoders}

    def bounds(self, batch: Mapping[str, Tensor], sources: Iterable[str] | None = None) -> Bounds:
        """Eq. 1 for each source (all by default), with one sample of z from q(z | x_source)."""
        sources = list(sources or self.encoders)
        posteriors = {source: self.encode(source, self.modalities[source].observed(batch)) for source in sources}
        # The latents of all sources are decoded in one pass: for batch normalisation, they are one batch.
        means = self.decode(torch.cat([reparameterize(q) for q in posteriors.values()]))
        result = {}
        for i, (source, q) in enumerate(posteriors.items()):
            from_source = {name: mean.chunk(len(posteriors))[i] for name, mean in means.items()}
            likelihoods = {
                name: self.modalities[name].log_likelihood(batch, mean) for name, mean in from_source.items()
            }
            kl = kl_to_prior(q)
            bound = elbo(likelihoods, kl, self.lambdas, self.beta)
            result[source] = where_known([self.modalities[source]], batch, bound, likelihoods | {"kl": kl})
        return result

    def forward(self, batch: Mapping[str, Tensor], sources: Iterable[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, which is minus the mean bound over the batch and the source modalities, and the terms' means.

        Joint training passes all modalities as sources; alternating training (Spurr et al.) passes one per step.
        """
        bounds = self.bounds(batch, sources)
        loss = -torch.stack([bound for bound, _ in bounds.values()]).mean()
        terms = {
            f"{source}→{name}": term.detach().mean()
            for source, (_, by_name) in bounds.items()
            for name, term in by_name.items()
        }
        return loss, terms
