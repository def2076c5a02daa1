"""Scores of disentanglement, on latents whose scores are known."""

import itertools

import numpy as np
import pytest
from scipy.linalg import hadamard
from scipy.optimize import minimize
from sklearn.model_selection import train_test_split

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
SIGNS = (1, -1)  # of the two kinds of pairs


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


@pytest.mark.parametrize("score", [beta_vae_score, factor_vae_score])
@pytest.mark.parametrize("shape", [(20, 20), (20, 12), (20, 6), (40, 3)])
def test_noise_is_told_at_chance_on_every_grid(score, shape):
    """Also on few values of a factor: 82 % and 98 % are what pairs that may coincide give on the last two."""
    rng = np.random.default_rng(0)
    told = [score(rng.standard_normal((*shape, 8)), samples=200, seed=seed) for seed in range(80)]
    assert np.mean(told) == pytest.approx(0.5, abs=0.04)


def test_a_pair_differs_in_every_factor_but_one():
    """With one pair a sample, a coincidence in the other factor would leave nothing to tell the two apart by."""
    assert beta_vae_score(perfect(), pairs=1) == 1
    assert beta_vae_score(perfect(3), pairs=1) == 1


def test_the_beta_vae_score_is_that_of_all_pairs_counted():
    """By brute force on 4 × 3 values: every pair of pairs of either kind, for every choice of values to learn from."""
    codes = np.random.default_rng(0).standard_normal((4, 3, 2))

    def counted(rows):  # all mean differences of two pairs: with the first factor in common, then with the second
        first = [abs(codes[i, j] - codes[i, k]) for i in rows for j, k in itertools.permutations(range(3), 2)]
        second = [abs(codes[i, j] - codes[k, j]) for i, k in itertools.permutations(rows, 2) for j in range(3)]
        return [np.array([(a + b) / 2 for a, b in itertools.product(kind, repeat=2)]) for kind in (first, second)]

    def accuracy(learnt):
        train, test = counted(learnt), counted(sorted({0, 1, 2, 3} - set(learnt)))

        def loss(w):  # of a logistic regression, both kinds alike often
            return sum(np.logaddexp(0, sign * (x @ w[:2] + w[2])).mean() for sign, x in zip(SIGNS, train, strict=True))

        w = minimize(loss, np.zeros(3)).x
        return np.mean([(sign * (x @ w[:2] + w[2]) < 0).mean() for sign, x in zip(SIGNS, test, strict=True)])

    expected = [accuracy(learnt) for learnt in itertools.combinations(range(4), 2)]
    scores = [beta_vae_score(codes, samples=8000, pairs=2, seed=seed) for seed in range(12)]
    for score in scores:  # of one of the choices each
        assert min(abs(score - e) for e in expected) < 0.02
    assert max(scores) - min(scores) > 0.1


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
    groups = np.arange(200) // 4
    found = regressed(z, targets, groups)
    assert ((found - targets) ** 2).mean() < 0.1 * targets.var(0).mean()
    nothing = regressed(rng.standard_normal((200, 3)), targets, groups)
    assert ((nothing - targets) ** 2).mean() > 0.9 * targets.var(0).mean()


def test_what_is_known_of_a_group_is_not_learnt_from_its_own_samples():
    """Codes that tell the group and nothing else, and targets that are alike in a group: known by heart, or not."""
    rng = np.random.default_rng(0)
    groups = np.arange(120) // 6
    z = rng.standard_normal((20, 8))[groups] + 0.01 * rng.standard_normal((120, 8))
    targets = rng.standard_normal((20, 1))[groups]
    by_heart, apart = (((regressed(z, targets, g) - targets) ** 2).mean() for g in (np.arange(120), groups))
    assert by_heart < 0.1 < 0.8 * targets.var() < apart


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


ALONE = np.zeros((4, 3, 2))
ODD = {
    "one factor": noise()[0],
    "one value": noise()[:, :1],
    "one dimension": noise(1),
    "two values": noise()[:2, :2],
    "constant": ALONE,
    "not finite": ALONE * np.nan,
    "constant but once": ALONE + np.eye(12)[0].reshape(4, 3, 1),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(
    "score", [beta_vae_score, factor_vae_score, mutual_information_gap, separated_attribute_score, dci, scores]
)
def test_a_score_of_an_odd_grid_is_a_number_or_a_sentence(score, name):
    codes = ODD[name]
    refused = {"one factor": "two factors or more", "one value": r"these have \(8, 1, 4\)"}
    refused |= dict.fromkeys(("constant", "not finite"), "the same everywhere on the grid, or not all finite")
    if score in (beta_vae_score, factor_vae_score, scores):
        refused["two values"] = "four values or more.* the grid is 2 × 2"
    if score in (mutual_information_gap, separated_attribute_score, scores):
        refused["one dimension"] = "the second best dimension requires two; there is 1"
    if name in refused:
        with pytest.raises(ValueError, match=refused[name]):
            score(codes)
        return
    value = score(codes)
    numbers = value.values() if score is scores else vars(value).values() if score is dci else [value]
    assert all(np.all((np.asarray(number) >= 0) & (np.asarray(number) <= 1)) for number in numbers)


def test_the_only_dimension_or_part_is_complete():
    codes = noise(1)
    assert dci(codes).completeness == dci(noise(3), parts=[slice(0, 3)]).completeness == 1
    assert dci(codes).disentanglement < 0.1  # it serves both


def test_a_factor_that_no_dimension_serves_is_spread_evenly():
    """The codes differ at one point of the grid, which the forest is not shown."""
    _, test = train_test_split(np.arange(12), test_size=0.25, random_state=0)
    codes = np.zeros((12, 2))
    codes[test[0]] = 1
    found = dci(codes.reshape(4, 3, 2))
    assert not found.importance.any()
    assert found.disentanglement == pytest.approx(0) and found.completeness == pytest.approx(0)


def test_few_samples_are_left_out_one_by_one():
    z = np.arange(6.0)[:, None]
    targets = np.concatenate([z, z**2], 1)
    others = targets.copy()
    others[2] = 100
    groups = np.arange(6)
    before, after = regressed(z, targets, groups), regressed(z, others, groups)
    np.testing.assert_array_equal(before[2], after[2])
    assert (before[[0, 1, 3, 4, 5]] != after[[0, 1, 3, 4, 5]]).any(1).all()
    assert np.isfinite(regressed(z[:4], targets[:4], groups[:4])).all()
    with pytest.raises(ValueError, match="four of them or more; there are 3"):
        regressed(z[:4], targets[:4], np.array([0, 1, 2, 2]))
