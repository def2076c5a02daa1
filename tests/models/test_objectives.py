"""The terms and the bound by value: torch's distributions, Monte Carlo, and a model whose evidence is known."""

import math

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from dvae_lib.models.objectives import elbo, kl_to_prior, log_likelihood, rescale_to_resolution


def gaussian(batch=5, d=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(batch, d, generator=generator)
    return Normal(mean, torch.rand(batch, d, generator=generator) + 0.3)


def test_kl_known_value():
    """N(1, 1) against N(0, 1) is half a nat a dimension."""
    assert kl_to_prior(Normal(torch.ones(1, 10), torch.ones(1, 10))).item() == pytest.approx(5.0)


def test_kl_closed_form_and_monte_carlo():
    q = gaussian()
    mu, sigma = q.loc, q.scale
    closed = 0.5 * (mu**2 + sigma**2 - 1 - 2 * sigma.log()).sum(-1)
    torch.testing.assert_close(kl_to_prior(q), closed)
    torch.manual_seed(0)
    z = q.sample((200_000,))
    estimate = (q.log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1).mean(0)
    torch.testing.assert_close(estimate, closed, atol=0.05, rtol=0)


def test_log_likelihood_sums_over_all_dimensions():
    x, mean = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    expected = [
        MultivariateNormal(m.flatten(), 0.25 * torch.eye(192)).log_prob(v.flatten())
        for v, m in zip(x, mean, strict=True)
    ]
    torch.testing.assert_close(log_likelihood(x, mean, scale=0.5), torch.stack(expected), rtol=1e-4, atol=1e-3)


def test_elbo_weighs_its_terms():
    terms = {"image": torch.tensor([-10.0]), "pose": torch.tensor([-2.0])}
    value = elbo(terms, torch.tensor([3.0]), {"image": 0.5}, beta=4.0)
    assert value.item() == pytest.approx(0.5 * -10 - 2 - 4 * 3)


def test_weights_shrink_with_the_number_of_pixels():
    assert rescale_to_resolution(100.0, 256) == 100.0
    assert rescale_to_resolution(100.0, 64) == pytest.approx(100.0 / 16)


class LinearGaussian:
    """z ~ N(0, I) in 2-d; x = Az + noise in 3-d, y = Bz + noise in 4-d, unit variances: all is known."""

    def __init__(self):
        generator = torch.Generator().manual_seed(1)
        # Orthogonal loadings make the true posterior diagonal, which is what the encoders can say.
        self.W = torch.linalg.qr(torch.randn(7, 2, generator=generator))[0] * torch.tensor([1.5, 0.7])
        self.xy = torch.randn(6, 7, generator=generator)
        self.split = {"x": slice(0, 3), "y": slice(3, 7)}

    def evidence(self):
        covariance = self.W @ self.W.T + torch.eye(7)
        return MultivariateNormal(torch.zeros(7), covariance).log_prob(self.xy)

    def posterior(self):
        precision = torch.eye(2) + self.W.T @ self.W
        covariance = torch.linalg.inv(precision)
        assert (covariance - covariance.diag().diag()).abs().max() < 1e-5
        return Normal(self.xy @ self.W @ covariance, covariance.diag().sqrt().expand(6, 2))

    def bound(self, q, samples=20_000):
        torch.manual_seed(0)
        total = torch.zeros(6)
        z = q.rsample((samples,))
        for part in self.split.values():
            mean = (z @ self.W[part].T).flatten(0, 1)
            observed = self.xy[:, part].expand(samples, -1, -1).flatten(0, 1)
            total = total + log_likelihood(observed, mean).unflatten(0, (samples, 6)).mean(0)
        return elbo({"xy": total}, kl_to_prior(q))


def test_bound_equals_the_evidence_at_the_true_posterior():
    model = LinearGaussian()
    torch.testing.assert_close(model.bound(model.posterior()), model.evidence(), atol=0.02, rtol=0)


@pytest.mark.parametrize("shift, stretch", [(0.3, 1.0), (0.0, 1.8), (-0.5, 0.5)])
def test_bound_is_below_the_evidence_by_the_kl_to_the_posterior(shift, stretch):
    model = LinearGaussian()
    true = model.posterior()
    q = Normal(true.loc + shift, true.scale * stretch)
    gap = torch.distributions.kl_divergence(q, true).sum(-1)
    assert gap.min() > 0.05
    torch.testing.assert_close(model.evidence() - model.bound(q), gap, atol=0.05, rtol=0)


def test_likelihood_is_full_precision_for_half_precision_inputs():
    x = torch.full((1, 3, 64, 64), 0.5)
    mean = torch.zeros(1, 3, 64, 64, dtype=torch.bfloat16)
    expected = Independent(Normal(0.0, 1.0), 0).log_prob(torch.tensor(0.5)).item() * 3 * 64 * 64
    assert math.isclose(log_likelihood(x, mean).item(), expected, rel_tol=1e-5)
