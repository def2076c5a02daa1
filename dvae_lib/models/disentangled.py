r"""The disentangled VAE (Sec. 3.2; chapters 04–06): $z = [z_{y_1}, \dots, z_{y_N}, z_u]$ has a slice for each labelled
factor, and one for everything unlabelled.
"""

from collections.abc import Iterable, Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Normal

from dvae_lib.files import UserError
from dvae_lib.models.modalities import Modality, OwnNetworks, make_decoder, make_encoder, where_known
from dvae_lib.models.networks import Pretrained, SharedDecoder, frozen
from dvae_lib.models.objectives import (
    Bound,
    Bounds,
    PerSample,
    elbo_dis,
    elbo_dis_u,
    elbo_emb,
    joint_bound,
    kl_to_prior,
    reparameterize,
    total,
)
from dvae_lib.models.saving import SavedModule, describe


class DVAE(SavedModule):
    r"""The disentangled VAE, declared by its parts; the paper's three variants are instances of it.

    factors: any number of labelled factors $y_i$, each with or without the number of dimensions of its slice of z.
        Slices without a number share the rest of d equally. Each factor is encoded to its slice and decoded from it.
    observations: x, decoded from the whole z.
    unlabelled: the name of the observation that $z_u$ is encoded from, with or without the number of dimensions of
        $z_u$. Factors are then decoded from the whole z (Eq. 6).
    embeddings: the modalities that are encoded to the whole z with frozen decoders (Eq. 4, 8): names of factors or
        observations, or other modalities.
    beta: β of Eq. 2 to 8; λ are the modalities' weights. Neither is rescaled.
    pretrained, width, networks: see `CrossModalVAE`.
    shared: image and pose are decoded by one network with a late branch (supplement, Table 3).
    d: number of dimensions of z, unless those of all slices are given.

    Raises UserError if a name that is referred to is not declared, or if a name is declared twice.
    """

    def __init__(
        self,
        factors: Sequence[Modality | tuple[Modality, int]],
        observations: Sequence[Modality],
        unlabelled: str | tuple[str, int] | None = None,
        embeddings: Sequence[str | Modality] = (),
        beta: float = 1.0,
        pretrained: Pretrained = "random",
        width: int = 1,
        shared: bool = False,
        d: int = 64,
        networks: OwnNetworks | None = None,
    ):
        super().__init__()
        labelled = [_with_dimensions(factor) for factor in factors]
        self.factors, self.observations = [m.name for m, _ in labelled], [m.name for m in observations]
        decoded = {m.name: m for m in (*(m for m, _ in labelled), *observations)}
        if len(decoded) < len(labelled) + len(observations):
            raise UserError("A dVAE's factors and observations must have different names.")
        source, d_u = _with_dimensions(unlabelled) if unlabelled else (None, None)
        for name in (source, *(name for name in embeddings if isinstance(name, str))):
            if name is not None and name not in decoded:
                raise UserError(f"“{name}” is not a factor or observation of this dVAE: it has {', '.join(decoded)}.")
        if unlabelled and source not in self.observations:
            raise UserError(
                f"z_u is encoded from an observation ({', '.join(self.observations)}), not from “{source}”."
            )
        embedded = [decoded[m] if isinstance(m, str) else m for m in embeddings]
        self.modalities = decoded | {m.name: m for m in embedded}
        self.unlabelled, self.beta = source, beta
        sizes = {m.name: size for m, size in labelled} | ({"u": d_u} if unlabelled else {})
        self.slices = _slices(sizes, d)
        self.d = sum(s.stop - s.start for s in self.slices.values())

        def dimensions(name: str) -> int:
            return len(range(self.d)[self.slices[name]])

        self.encoders = nn.ModuleDict(
            {m.name: make_encoder(m, dimensions(m.name), pretrained, networks) for m, _ in labelled}
        )
        if unlabelled:
            self.encoders["u"] = make_encoder(decoded[source], dimensions("u"), pretrained, networks)
        self.embedding_encoders = nn.ModuleDict(
            {m.name: make_encoder(m, self.d, pretrained, networks) for m in embedded}
        )
        self.shared = SharedDecoder(self.d, decoded["image"].shape[-1], width) if shared else None
        by_shared = ("image", "pose") if shared else ()
        self.decoders = nn.ModuleDict(
            {
                name: make_decoder(m, len(range(self.d)[self.decoder_slice(name)]), width, networks)
                for name, m in decoded.items()
                if name not in by_shared
            }
        )
        self.lambdas = {name: m.weight for name, m in decoded.items()}
        self.declaration = {
            "factors": [describe((m, dimensions(m.name))) for m, _ in labelled],
            "observations": describe(list(observations)),
            "unlabelled": [source, dimensions("u")] if unlabelled else None,
            "embeddings": describe(embedded),
            "beta": beta,
            "width": width,
            "shared": shared,
            "networks": list(networks or {}),
        }

    def decoder_slice(self, name: str) -> slice:
        """The slice of z that the decoder of a modality receives."""
        from_slice = name in self.factors and not self.unlabelled
        return self.slices[name] if from_slice else slice(0, self.d)

    @property
    def decoder_modules(self) -> list[nn.Module]:
        """All decoders."""
        return [self.decoders, *([self.shared] if self.shared else [])]

    @property
    def disentangling_modules(self) -> list[nn.Module]:
        """The modules trained in the disentangling step: all except the embeddings' encoders."""
        return [self.encoders, *self.decoder_modules]

    @property
    def embedding_modules(self) -> list[nn.Module]:
        """The modules trained in the embedding step."""
        return [self.embedding_encoders]

    @property
    def factor_modules(self) -> list[nn.Module]:
        """The modules trained in the inner loop of Algorithm 2: the factors' encoders and decoders."""
        own = [modules[name] for modules in (self.encoders, self.decoders) for name in self.factors if name in modules]
        return [*own, *([self.shared] if self.shared else [])]

    def needs(self, step: str, /) -> list[Modality]:
        """The modalities that a batch must contain for a training step."""
        names = [*self.factors, *(self.observations if step != "independence" else [self.unlabelled])]
        names += self.embedding_encoders if step in (*_EMBEDDING, "joint") else []
        return [self.modalities[name] for name in dict.fromkeys(names)]

    def encode_factors(self, batch: Mapping[str, Tensor]) -> dict[str, Normal]:
        """q of each slice (B, d_i), encoded from its own factor; that of "u", from the observation."""
        return {name: self._encode_slice(name, batch) for name in self.slices}

    def latent_from_factors(self, batch: Mapping[str, Tensor]) -> Float[Tensor, "B d"]:
        """z (B, d), the concatenated means of `encode_factors`."""
        return self.join({name: q.mean for name, q in self.encode_factors(batch).items()})

    def _encode_slice(self, name: str, batch: Mapping[str, Tensor]) -> Normal:
        return self.encoders[name](self.modalities[self.unlabelled if name == "u" else name].observed(batch))

    @property
    def _encoded(self) -> list[Modality]:
        """The modalities that z is encoded from in the disentangling step."""
        return [self.modalities[name] for name in (*self.factors, *([self.unlabelled] if self.unlabelled else []))]

    def encode(self, source: str, x: Tensor) -> Normal:
        """q(z | x) of an embedding over the whole z (B, d)."""
        return self.embedding_encoders[source](x)

    def join(self, by_slice: Mapping[str, Tensor]) -> Float[Tensor, "B d"]:
        """z, concatenated from its slices (B, d_i), which may come from different samples."""
        return torch.cat([by_slice[name] for name in self.slices], dim=-1)

    def select(self, z: Float[Tensor, "*batch d"], name: str) -> Float[Tensor, "*batch d_i"]:
        """The slice of a factor, or of "u"."""
        return z[..., self.slices[name]]

    def swap(self, z: Float[Tensor, "B d"], donor: Float[Tensor, "B d"], names: Iterable[str]) -> Float[Tensor, "B d"]:
        """z with the slices `names` replaced by the donor's."""
        return self.join({name: self.select(donor if name in names else z, name) for name in self.slices})

    def walk(
        self, start: Float[Tensor, "B d"], end: Float[Tensor, "B d"], steps: int, names: Sequence[str]
    ) -> Float[Tensor, "steps B d"]:
        """Latents on the straight line from start to end in the slices `names`; the others are constant."""
        t = torch.linspace(0, 1, steps, device=start.device)[:, None, None]
        return torch.lerp(start, self.swap(start, end, names), t)

    def decode(self, z: Float[Tensor, "B d"], names: Iterable[str] | None = None) -> dict[str, Tensor]:
        """The mean of p(· | z) of factors and observations (all by default), or the logits of a label:
        {name: (B, *shape)}.
        """
        names = list(names or (*self.factors, *self.observations))
        means = {}
        if self.shared and {"image", "pose"} & set(names):
            means["image"], means["pose"] = self.shared(z)
        return {
            name: means[name] if name in means else self.decoders[name](z[:, self.decoder_slice(name)])
            for name in names
        }

    def translate(self, source: str, x: Tensor, target: str) -> Tensor:
        """A factor or observation predicted from an embedding, through the mean of q(z | x): (B, *shape of target)."""
        return self.decode(self.encode(source, x).mean, [target])[target]

    def predictions(self, batch: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
        """Everything decoded from the factors' means (“factors”) and each embedding's mean: {source: {name: mean}}."""
        latents = {"factors": self.latent_from_factors(batch)}
        latents |= {name: self.encode(name, batch[name]).mean for name in self.embedding_encoders}
        return {source: self.decode(z) for source, z in latents.items()}

    def bounds(self, batch: Mapping[str, Tensor]) -> Bounds:
        """Eq. 2 or 6 of the factors, Eq. 4 or 8 of each embedding."""
        embedded = {name: self.embedding_bound(name, batch) for name in self.embedding_encoders}
        return {"factors": self.disentangling_bound(batch), **embedded}

    def _likelihoods(self, batch: Mapping[str, Tensor], means: Mapping[str, Tensor]) -> dict[str, PerSample]:
        return {name: self.modalities[name].log_likelihood(batch, mean) for name, mean in means.items()}

    def disentangling_bound(self, batch: Mapping[str, Tensor]) -> Bound:
        """Eq. 2, or Eq. 6 if there is a z_u, with one sample of each slice: the bound (B,) and its terms (B,)."""
        posteriors = self.encode_factors(batch)
        z = self.join({name: reparameterize(q) for name, q in posteriors.items()})
        likelihoods = self._likelihoods(batch, self.decode(z))
        kls = {name: kl_to_prior(q) for name, q in posteriors.items()}
        bound = (elbo_dis_u if self.unlabelled else elbo_dis)(likelihoods, kls, self.lambdas, self.beta)
        terms = likelihoods | {f"kl {name}": kl for name, kl in kls.items()}
        return where_known(self._encoded, batch, bound, terms)

    def embedding_bound(self, name: str, batch: Mapping[str, Tensor]) -> Bound:
        """Eq. 4, or Eq. 8 if the embedding is not an observation, with one sample of z: bound and terms (B,)."""
        source = self.modalities[name]
        q = self.encode(name, source.observed(batch))
        likelihoods, kl = self._likelihoods(batch, self.decode(reparameterize(q))), kl_to_prior(q)
        bound = elbo_emb(likelihoods, kl, self.lambdas, self.beta)
        return where_known([source], batch, bound, likelihoods | {"kl": kl})

    def independence_bound(self, batch: Mapping[str, Tensor]) -> Bound:
        r"""Algorithm 2, lines 7 to 11: the log-likelihood of the factors with the $z_u$ of another image, (B,).

        The algorithm samples its noise from $\mathcal N(\mu, \sigma)$ of $q(z_u \mid x)$. With the same x, this would
        be the same $z_u$ up to the width of its posterior; the $z_u$ of another x contains no information about y, so
        y must be decoded without it. The objective is the plain log-likelihood, without the λ of Eq. 6 and without the
        KL, whatever the size of the images. With the KL and a small λ, the best $z_{y_1}$ would contain no information;
        with the λ only, the loop is too weak against the outer step, which has the KL (chapter 05 tries all three).
        """
        z = {name: reparameterize(self._encode_slice(name, batch)) for name in self.factors}
        with torch.no_grad():
            z["u"] = reparameterize(self._encode_slice("u", batch)).roll(1, dims=0)
        likelihoods = self._likelihoods(batch, self.decode(self.join(z), self.factors))
        return where_known(self._encoded, batch, total(likelihoods.values()), likelihoods)

    def forward(self, batch: Mapping[str, Tensor], step: str) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of a step, which is minus its mean bound over the batch, and the terms' means by name.

        step: "disentangling", "embedding", "independence" or, for the first two at once (Eq. 5), "joint". In Eq. 5 the
        embedding's bound is maximised over the embedding only, so the decoders are frozen in it as well; in the step
        "embedding with decoders" they are not.
        """
        bounds = {}
        if step in ("disentangling", "joint"):
            bounds["disentangling"] = self.disentangling_bound(batch)
        if step in (*_EMBEDDING, "joint"):
            decoders = [] if step == "embedding with decoders" else self.decoder_modules
            with frozen(module for modules in decoders for module in modules.modules()):
                bounds |= {name: self.embedding_bound(name, batch) for name in self.embedding_encoders}
        if step == "independence":
            bounds["independence"] = self.independence_bound(batch)
        if step == "joint":
            embedded = [bounds[name][0] for name in self.embedding_encoders]
            total = joint_bound(bounds["disentangling"][0], torch.stack(embedded).mean(0))
        else:
            total = torch.stack([bound for bound, _ in bounds.values()]).mean(0)
        terms = {
            f"{source}→{name}": term.detach().mean()
            for source, (_, by_name) in bounds.items()
            for name, term in by_name.items()
        }
        return -total.mean(), terms


_EMBEDDING = "embedding", "embedding with decoders"  # steps of the embedding only


def _with_dimensions(item: Modality | str | tuple) -> tuple:
    return tuple(item) if isinstance(item, list | tuple) else (item, None)


def _slices(sizes: Mapping[str, int | None], d: int) -> dict[str, slice]:
    """The position of each slice in z; those without a size share the rest of d equally."""
    free = [name for name, size in sizes.items() if size is None]
    left = d - sum(size or 0 for size in sizes.values())
    if any(size is not None and size < 1 for size in sizes.values()) or (free and left < len(free)):
        raise UserError(f"The slices {dict(sizes)} of z, of d = {d} dimensions, must have at least one dimension each.")
    shares = {name: left // len(free) + (i < left % len(free)) for i, name in enumerate(free)}
    slices, start = {}, 0
    for name, size in sizes.items():
        stop = start + (size if size is not None else shares[name])
        slices[name], start = slice(start, stop), stop
    return slices
