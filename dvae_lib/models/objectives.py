r"""The evidence lower bounds, one function per equation, from shared Gaussian terms (chapters 01, 03–06).

Every term is summed over dimensions and returned per sample, shape (B,); the mean over the batch is taken once,
where the loss is minimised. An observation is Gaussian with unit variance around the decoder's output; the weight λ of
its term then plays the role of the precision $1/\sigma^2$.
"""

import functools
from collections.abc import Iterable, Mapping

import torch
import torch.distributed as dist
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.distributions import Independent, Normal, kl_divergence

PerSample = Float[Tensor, " B"]
Terms = dict[str, PerSample]  # of a bound, by name
Bound = tuple[PerSample, Terms]
Bounds = dict[str, Bound]  # by source, or step


def at_least_float32(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Half precision becomes single: half cannot represent the sum over a whole image, or a small variance."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rank_and_world() -> tuple[int, int]:
    """This process's rank and the number of processes that share a batch; 0 and 1 for a single process."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def reparameterize(q: Normal) -> Float[Tensor, "B d"]:
    r"""$z = \mu + \sigma \epsilon \sim q$ with its gradient, (B, d): the reparameterisation of chapter 01.

    If several processes share a batch, each samples the noise of the whole batch and uses its own part.
    """
    rank, world = rank_and_world()
    noise = torch.randn((world * len(q.loc), *q.loc.shape[1:]), dtype=q.loc.dtype, device=q.loc.device)
    return q.loc + q.scale * noise[rank::world]


def log_likelihood(
    x: Float[Tensor, " B *shape"], mean: Float[Tensor, " B *shape"], scale: float | Tensor = 1.0
) -> PerSample:
    r"""$\log \mathcal N(x; \mathrm{mean}, \mathrm{scale}^2 I)$ for x and mean of shape (B, …): (B,).

    scale: one for all, or of a shape that broadcasts to x's, for example to give some pixels a higher weight.
    """
    x, mean = at_least_float32(x), at_least_float32(mean)
    return Independent(Normal(mean, scale, validate_args=False), x.ndim - 1).log_prob(x)


def categorical_log_likelihood(label: Int64[Tensor, " B"], logits: Float[Tensor, "B K"]) -> PerSample:
    r"""$\log p(\mathrm{label})$ under the softmax of the logits, minus the cross-entropy in nats: (B,)."""
    return -nn.functional.cross_entropy(at_least_float32(logits), label, reduction="none")


def kl_to_prior(q: Normal) -> PerSample:
    r"""$D_{KL}(q \| \mathcal N(0, I))$ of diagonal Gaussians over (B, d): (B,)."""
    prior = Normal(torch.zeros_like(q.loc), torch.ones_like(q.scale), validate_args=False)
    return kl_divergence(q, prior).sum(-1)


def total(terms: Iterable[PerSample]) -> PerSample:
    """The sum of several terms, each (B,)."""
    return functools.reduce(torch.add, terms)


def elbo(
    log_likelihoods: Mapping[str, PerSample],
    kl: PerSample,
    lambdas: Mapping[str, float] | None = None,
    beta: float = 1.0,
) -> PerSample:
    r"""Eq. 1, the bound of the cross-modal VAE, for one sample of z: (B,).

    $$\sum_m \lambda_m \log p(x_m \mid z) - \beta\, D_{KL}(q(z \mid x) \| p(z))$$

    log_likelihoods: (B,) for each modality m decoded from z; with one modality this is the plain VAE's bound.
    lambdas: λ by modality, 1 if not given. If every λ and β are 1, the expectation over z is a lower bound of the
    evidence.
    """
    lambdas = lambdas or {}
    return total(lambdas.get(name, 1.0) * term for name, term in log_likelihoods.items()) - beta * kl


def elbo_dis(
    log_likelihoods: Mapping[str, PerSample],
    kls: Mapping[str, PerSample],
    lambdas: Mapping[str, float] | None = None,
    beta: float = 1.0,
) -> PerSample:
    r"""Eq. 2, the bound of the disentangling step, for one sample of every $z_{y_i} \sim q(z_{y_i} \mid y_i)$: (B,).

    $$\lambda_x \log p(x \mid z) + \sum_i \lambda_{y_i} \log p(y_i \mid z_{y_i})
    - \beta \sum_i D_{KL}(q(z_{y_i} \mid y_i) \| p(z_{y_i})), \qquad z = [z_{y_1}, \dots, z_{y_N}]$$

    log_likelihoods: (B,) of the observations x, decoded from the whole z, and of the factors, each decoded from its
    own part. kls: (B,) of each factor's part; since the parts are independent, their sum is the KL of z.
    """
    return elbo(log_likelihoods, total(kls.values()), lambdas, beta)


def elbo_emb(
    log_likelihoods: Mapping[str, PerSample],
    kl: PerSample,
    lambdas: Mapping[str, float] | None = None,
    beta: float = 1.0,
) -> PerSample:
    r"""Eq. 4, or Eq. 8 if the encoded modality is not decoded: the bound of the embedding step, for one sample of the
    whole $z \sim q(z \mid x)$: (B,).

    The terms are those of Eq. 2, with the factors decoded from their parts of z; the decoders are frozen.
    """
    return elbo(log_likelihoods, kl, lambdas, beta)


def joint_bound(disentangling: PerSample, embedding: PerSample) -> PerSample:
    """Eq. 5, the objective that combines both steps: the sum (B,) of Eq. 2 and Eq. 4."""
    return disentangling + embedding


def elbo_dis_u(
    log_likelihoods: Mapping[str, PerSample],
    kls: Mapping[str, PerSample],
    lambdas: Mapping[str, float] | None = None,
    beta: float = 1.0,
) -> PerSample:
    r"""Eq. 6, the bound of the disentangling step with an unlabelled part, for one sample of
    $z_{y_1} \sim q(z_{y_1} \mid y_1)$ and $z_u \sim q(z_u \mid x)$: (B,).

    As Eq. 2, but every factor is decoded from the whole $z = [z_{y_1}, z_u]$, and kls also contains that of $z_u$.
    """
    return elbo(log_likelihoods, total(kls.values()), lambdas, beta)


def rescale_to_resolution(weight: float, size: int) -> float:
    """A weight (β, or the λ of poses) for images of `size` pixels, from the papers' value for 256.

    An image's log-likelihood is a sum over its pixels and decreases with their number; the weights of the other terms
    must decrease in proportion.
    """
    return weight * (size / 256) ** 2
