r"""The disentangled VAE (Sec. 3.2; chapters 04–06): $z = [z_{y_1}, \dots, z_{y_N}, z_u]$ has a part for each labelled
factor, and one for what no label says.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from dvae_lib.models import networks
from dvae_lib.models.modalities import Modality, make_decoder, make_encoder, scaled_weights
from dvae_lib.models.objectives import (
    Bounds,
    at_size,
    elbo_dis,
    elbo_dis_u,
    elbo_emb,
    joint,
    kl_to_prior,
    reparameterize,
)


@contextmanager
def frozen(modules: Iterable[nn.Module]) -> Iterator[None]:
    """What is computed within sees these modules as they are: no gradient reaches them, no running statistic moves."""
    modules = [module for whole in modules for module in whole.modules()]
    before = [(module, module.training) for module in modules]
    learning = [p for module in modules for p in module.parameters(recurse=False) if p.requires_grad]
    for module in modules:
        module.training = False
    for p in learning:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for module, training in before:
            module.training = training
        for p in learning:
            p.requires_grad_(True)


class DVAE(nn.Module):
    r"""The disentangled VAE, declared by what it is made of; the paper's three variants are instances of it.

    factors: the labelled factors $y_i$ with the dimensions of their parts of z, any number of them. Each is encoded
        to its part and decoded from it.
    observations: x, decoded from the whole z.
    unlabelled: the observation that $z_u$ is encoded from, by name, and its dimensions. Factors are then decoded from
        the whole z (Eq. 6).
    embeddings: what is encoded to the whole z, against decoders that stay as they are (Eq. 4, 8).
    shared: image and pose are decoded by one network that divides late (supplement, Table 3).
    """

    def __init__(
        self,
        factors: Sequence[tuple[Modality, int]],
        observations: Sequence[Modality],
        unlabelled: tuple[str, int] | None = None,
        embeddings: Sequence[Modality] = (),
        beta: float = 1.0,
        weights: networks.Weights = "random",
        width: int = 1,
        shared: bool = False,
    ):
        super().__init__()
        self.factors, self.observations = [m.name for m, _ in factors], [m.name for m in observations]
        decoded = {m.name: m for m in (*(m for m, _ in factors), *observations)}
        self.modalities = decoded | {m.name: m for m in embeddings}
        self.unlabelled = unlabelled[0] if unlabelled else None
        sizes = [(m.name, d) for m, d in factors] + ([("u", unlabelled[1])] if unlabelled else [])
        self.parts: dict[str, slice] = {}
        self.d = 0
        for name, d in sizes:
            self.parts[name] = slice(self.d, self.d + d)
            self.d += d

        self.encoders = nn.ModuleDict({m.name: make_encoder(m, d, weights) for m, d in factors})
        if unlabelled:
            self.encoders["u"] = make_encoder(decoded[unlabelled[0]], unlabelled[1], weights)
        self.embedders = nn.ModuleDict({m.name: make_encoder(m, self.d, weights) for m in embeddings})
        self.shared = networks.SharedDecoder(self.d, decoded["image"].shape[-1], width) if shared else None
        apart = {name: m for name, m in decoded.items() if not (shared and name in ("image", "pose"))}
        read = {name: self.reads(name) for name in decoded}
        self.decoders = nn.ModuleDict(
            {name: make_decoder(m, len(range(self.d)[read[name]]), width) for name, m in apart.items()}
        )
        self.weights, size = scaled_weights(decoded.values())
        self.beta = at_size(beta, size)

    def reads(self, name: str) -> slice:
        """What of z the decoder of a modality sees."""
        own = name in self.factors and not self.unlabelled
        return self.parts[name] if own else slice(0, self.d)

    @property
    def disentangling(self) -> list[nn.Module]:
        """What learns in the disentangling step: all but the embeddings."""
        return [self.encoders, *self.generating]

    @property
    def embedding(self) -> list[nn.Module]:
        """What learns in the embedding step."""
        return [self.embedders]

    @property
    def generating(self) -> list[nn.Module]:
        """All that decodes."""
        return [self.decoders, *([self.shared] if self.shared else [])]

    @property
    def factor_coders(self) -> list[nn.Module]:
        """What learns in the inner loop of Algorithm 2: the factors' encoders and decoders."""
        coders = [module[name] for module in (self.encoders, self.decoders) for name in self.factors if name in module]
        return [*coders, *([self.shared] if self.shared else [])]

    def encode(self, batch: Mapping[str, Tensor]) -> dict[str, Normal]:
        """q of each part (B, d_i), from its own factor; of "u" from the observation."""
        return {name: self.encoders[name](batch[self.unlabelled if name == "u" else name]) for name in self.parts}

    def embed(self, name: str, x: Tensor) -> Normal:
        """q(z | x) of an embedding over the whole z (B, d)."""
        return self.embedders[name](x)

    def join(self, parts: Mapping[str, Tensor]) -> Tensor:
        """z (B, d) from its parts, from wherever each was taken."""
        return torch.cat([parts[name] for name in self.parts], dim=-1)

    def part(self, z: Tensor, name: str) -> Tensor:
        return z[..., self.parts[name]]

    def walk(self, start: Tensor, end: Tensor, steps: int, moving: Sequence[str]) -> Tensor:
        """Latents (steps, B, d) on the straight way from start to end (B, d) in the parts `moving`; the others stay."""
        goal = self.join({name: self.part(end if name in moving else start, name) for name in self.parts})
        t = torch.linspace(0, 1, steps, device=start.device)[:, None, None]
        return torch.lerp(start, goal, t)

    def decode(self, z: Tensor, names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The mean of p(· | z) of factors and observations (all by default): {name: (B, *shape)}."""
        names = list(names or (*self.factors, *self.observations))
        means = {}
        if self.shared and {"image", "pose"} & set(names):
            means["image"], means["pose"] = self.shared(z)
        return {name: means[name] if name in means else self.decoders[name](z[:, self.reads(name)]) for name in names}

    def read(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """All that is decoded from the factors' means (“factors”) and from each embedding's: {source: {name: mean}}."""
        sources = {"factors": self.join({name: q.mean for name, q in self.encode(batch).items()})}
        sources |= {name: self.embed(name, batch[name]).mean for name in self.embedders}
        return {source: self.decode(z) for source, z in sources.items()}

    def bounds(self, batch: Mapping[str, Tensor]) -> Bounds:
        """Eq. 2 or 6 of the factors, Eq. 4 or 8 of each embedding."""
        embedded = {name: self.embedding_bound(name, batch) for name in self.embedders}
        return {"factors": self.disentangling_bound(batch), **embedded}

    def _likelihoods(self, batch: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: self.modalities[name].log_likelihood(batch, mean) for name, mean in means.items()}

    def disentangling_bound(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 2, or Eq. 6 if there is an unlabelled part, each part drawn once: the bound (B,), and its terms (B,)."""
        posteriors = self.encode(batch)
        z = self.join({name: reparameterize(q) for name, q in posteriors.items()})
        likelihoods = self._likelihoods(batch, self.decode(z))
        kls = {name: kl_to_prior(q) for name, q in posteriors.items()}
        bound = (elbo_dis_u if self.unlabelled else elbo_dis)(likelihoods, kls, self.weights, self.beta)
        return bound, likelihoods | {f"kl {name}": kl for name, kl in kls.items()}

    def embedding_bound(self, name: str, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 4, or Eq. 8 where what is embedded is no observation, z drawn once: the bound (B,), its terms (B,)."""
        q = self.embed(name, batch[name])
        likelihoods, kl = self._likelihoods(batch, self.decode(reparameterize(q))), kl_to_prior(q)
        return elbo_emb(likelihoods, kl, self.weights, self.beta), likelihoods | {"kl": kl}

    def independence(self, batch: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        r"""Algorithm 2, lines 8 to 11: how well the factors are decoded while $z_u$ is that of another image, (B,).

        The algorithm draws its noise from $\mathcal N(\mu, \sigma)$ of $q(z_u \mid x)$. With the same x's that would be
        the same $z_u$ but for the width of its posterior; another x's says nothing of y, which is what y must not need.
        What is raised is the likelihood alone. With the KL beside a small λ it would pay to say nothing in $z_{y_1}$.
        """
        z = {name: reparameterize(self.encoders[name](batch[name])) for name in self.factors}
        with torch.no_grad():
            z["u"] = reparameterize(self.encoders["u"](batch[self.unlabelled])).roll(1, dims=0)
        likelihoods = self._likelihoods(batch, self.decode(self.join(z), self.factors))
        return sum(likelihoods.values()), likelihoods

    def forward(self, batch: Mapping[str, Tensor], step: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step, minus its mean bound over the batch, and the terms' means by name.

        step: "disentangling", "embedding", "independence" or, for the first two at once (Eq. 5), "joint". In Eq. 5 the
        embedding's bound is a function of the embedding alone, so that its decoders are frozen there too.
        """
        bounds = {}
        if step in ("disentangling", "joint"):
            bounds["disentangling"] = self.disentangling_bound(batch)
        if step in ("embedding", "joint"):
            with frozen(self.generating):
                bounds |= {name: self.embedding_bound(name, batch) for name in self.embedders}
        if step == "independence":
            bounds["independence"] = self.independence(batch)
        if step == "joint":
            embedded = [bounds[name][0] for name in self.embedders]
            total = joint(bounds["disentangling"][0], torch.stack(embedded).mean(0))
        else:
            total = torch.stack([bound for bound, _ in bounds.values()]).mean(0)
        record = {
            f"{of}→{name}": term.detach().mean() for of, (_, terms) in bounds.items() for name, term in terms.items()
        }
        return -total.mean(), record
