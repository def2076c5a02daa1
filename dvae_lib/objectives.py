r"""The evidence lower bounds, one function an equation, from shared Gaussian terms (chapters 01, 03).

Every term is summed over dimensions and returned per sample, shape (B,); the mean over the batch is taken once,
by whoever minimises. An observation is Gaussian with unit variance around what a decoder says; the weight λ of its
term then plays the part of the precision $1/\sigma^2$.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence


def log_likelihood(x: Tensor, mean: Tensor, scale: float = 1.0) -> Tensor:
    r"""$\log \mathcal N(x; \mathrm{mean}, \mathrm{scale}^2 I)$ for x and mean of shape (B, …): (B,)."""
    # Half precision would lose the sum over a whole image.
    x, mean = (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t for t in (x, mean))
    return Independent(Normal(mean, scale, validate_args=False), x.ndim - 1).log_prob(x)


def kl_to_prior(q: Normal) -> Tensor:
    r"""$D_{KL}(q \| \mathcal N(0, I))$ of diagonal Gaussians over (B, d): (B,)."""
    prior = Normal(torch.zeros_like(q.loc), torch.ones_like(q.scale), validate_args=False)
    return kl_divergence(q, prior).sum(-1)


def elbo(
    log_likelihoods: Mapping[str, Tensor],
    kl: Tensor,
    weights: Mapping[str, float] | None = None,
    beta: float = 1.0,
) -> Tensor:
    r"""Eq. 1, the bound of the cross-modal VAE, for one sample of z: (B,).

    $$\sum_m \lambda_m \log p(x_m \mid z) - \beta\, D_{KL}(q(z \mid x) \| p(z))$$

    log_likelihoods: (B,) for each modality m decoded from z; with one modality this is the plain VAE's bound.
    weights: λ, 1 where not given. With every λ and β at 1 the expectation over z is a lower bound of the evidence.
    """
    weights = weights or {}
    return sum(weights.get(name, 1.0) * term for name, term in log_likelihoods.items()) - beta * kl


def at_size(weight: float, size: int) -> float:
    """A weight beside an image of `size` pixels, where the papers' value is for 256: β, and the λ of poses.

    An image's log-likelihood is a sum over its pixels, so it shrinks with their number; what is weighed against it
    must shrink alike to keep the trade.
    """
    return weight * (size / 256) ** 2
