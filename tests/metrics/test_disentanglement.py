"""Scores of disentanglement, on latents whose scores are known."""

import numpy as np
import pytest
from scipy.linalg import hadamard

from dvae_lib.metrics.disentanglement import (
    beta_vae_score,
    dci,
    factor_vae_score,
    mutual_information_gap,
    regressed,
    scores,
    separated_attribute_score,
)

N = 8  # values of each factor


def perfect(factors=2, repeats=1):
    """Each factor's value, in `repeats` dimensions of its own."""
    values = np.stack(np.meshgrid(*[np.arange(N) / N] * factors, indexing="ij"), -1)
    return np.repeat(values, repeats, axis=-1)


def entangled(factors=2):
    """As much of every factor in every dimension."""
    return perfect(factors) @ hadamard(factors) / factors**0.5


def noise(d=4):
    return np.random.default_rng(0).standard_normal((N, N, d))


@pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score])
@pytest.mark.parametrize("factors", [2, 4])
def test_votes_are_sure_of_a_perfect_latent_and_guess_for_an_entangled_one(score, factors):
    assert score(perfect(factors)) == 1
    assert score(perfect(factors, repeats=3)) == 1
    chance = 1 / factors
    assert score(entangled(factors)) == pytest.approx(chance, abs=0.12)
    if factors == 2:
        assert score(noise()) == pytest.approx(chance, abs=0.2)


def test_a_dead_dimension_gets_no_vote():
    codes = np.concatenate([perfect(), np.full((N, N, 1), 0.3)], -1)
    assert factor_vae_score(codes) == beta_vae_score(codes) == 1


def test_gaps_are_whole_for_one_dimension_a_factor():
    assert mutual_information_gap(perfect()) == pytest.approx(1)
    assert mutual_information_gap(perfect(4)) == pytest.approx(1)
    # Thresholds on the right dimension name every value that was learnt, those on another at most one in eight or so.
    assert separated_attribute_score(perfect()) > 0.75


def test_there_is_no_gap_between_two_dimensions_that_say_the_same():
    assert mutual_information_gap(perfect(repeats=2)) == pytest.approx(0)
    assert separated_attribute_score(perfect(repeats=2)) == pytest.approx(0)


def test_the_gap_of_an_entangled_latent_is_by_hand():
    """(a + b, a − b): both dimensions say the same of each factor, so nothing is between them."""
    assert mutual_information_gap(entangled()) == pytest.approx(0, abs=1e-9)


def test_the_gap_of_a_shared_dimension_is_by_hand():
    """Two binary factors; the first dimension is their sum, the second the second one: I(sum; either) = log 2 / 2."""
    a, b = np.meshgrid([0.0, 1.0], [0.0, 1.0], indexing="ij")
    # Of the first: log 2 / 2 and 0. Of the second: log 2 / 2 and log 2.
    assert mutual_information_gap(np.stack([a + b, b], -1)) == pytest.approx(0.5)


def test_dci_of_known_latents():
    found = dci(perfect())
    np.testing.assert_allclose(found.importance, np.eye(2), atol=0.05)
    assert found.disentanglement > 0.85 and found.completeness > 0.85 and found.informativeness > 0.9
    twice = dci(perfect(repeats=2))
    assert twice.disentanglement > 0.85
    assert twice.completeness == pytest.approx(1 - np.log(2) / np.log(4), abs=0.1)  # two of four dimensions
    together = dci(perfect(repeats=2), parts=[slice(0, 2), slice(2, 4)])
    assert together.completeness > 0.85 and together.importance.shape == (2, 2)
    mixed = dci(entangled())
    assert mixed.disentanglement < 0.1 and mixed.completeness < 0.1


def test_dci_of_noise_informs_of_nothing():
    assert dci(noise()).informativeness < 0.4


def test_a_regression_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    z = rng.standard_normal((200, 3))
    targets = np.stack([np.sin(2 * z[:, 0]), np.cos(z[:, 1]) + 5], 1)
    found = regressed(z, targets)
    assert ((found - targets) ** 2).mean() < 0.1 * targets.var(0).mean()
    nothing = regressed(rng.standard_normal((200, 3)), targets)
    assert ((nothing - targets) ** 2).mean() > 0.9 * targets.var(0).mean()


def test_all_scores_are_best_for_a_dimension_a_factor_and_parts_are_told_apart():
    found = scores(perfect(repeats=2), [slice(0, 2), slice(2, 4)])
    assert list(found) == ["β-VAE", "FactorVAE", "MIG", "SAP", "D", "C", "I", "D, parts", "C, parts"]
    assert found["MIG"] < 0.1 and found["C"] < 0.6 < 0.85 < found["C, parts"]
    single = scores(perfect())
    assert len(single) == 7 and min(value for name, value in single.items() if name != "SAP") > 0.8


def test_scores_are_functions_of_the_seed():
    codes = noise()
    for score in (beta_vae_score, factor_vae_score, separated_attribute_score):
        assert score(codes, seed=3) == score(codes, seed=3)
    assert beta_vae_score(codes, seed=1) != beta_vae_score(codes, seed=2)
