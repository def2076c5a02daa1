"""The Fréchet distance of two sets of features."""

import pytest
import torch

from dvae_lib.metrics.frechet import frechet_distance


def drawn(mean, deviations, n=200_000, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, len(deviations), generator=generator) * torch.tensor(deviations) + torch.tensor(mean)


def test_of_independent_gaussians_it_is_that_of_means_and_deviations():
    """Where covariances commute it is the sum of the squared differences of means and of standard deviations."""
    a, b = drawn([0.0, 0.0], [1.0, 3.0]), drawn([1.0, 2.0], [2.0, 1.0], seed=1)
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + 1 + 4, rel=0.02)


def test_it_does_not_depend_on_the_axes():
    a, b = drawn([0.0, 0.0, 1.0], [1.0, 2.0, 0.5]), drawn([1.0, 0.0, 0.0], [1.0, 1.0, 1.0], seed=1)
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))[0]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-4)


def test_it_is_zero_of_the_same_set_and_large_of_a_mean_for_all():
    a = drawn([0.0, 0.0], [1.0, 1.0], n=500)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)
    blurred = a.mean(0).expand_as(a) + 1e-3 * a
    assert frechet_distance(blurred, a) == pytest.approx(2, rel=0.1)
