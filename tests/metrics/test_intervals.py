"""Intervals are those of the mean, and comparisons are of the same samples."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm, ttest_ind, ttest_rel

from dvae_lib.metrics.intervals import (
    answer,
    bootstrap_block_size,
    bootstrap_ci,
    contrast_ci,
    drop_missing,
    improvement,
    ratio_ci,
)


def test_intervals_are_those_of_the_mean_and_know_what_belongs_together():
    values = torch.randn(400, generator=torch.Generator().manual_seed(0))
    mean, low, high = bootstrap_ci(values)
    half = norm.ppf(0.975) * values.std().item() / 20
    assert mean == pytest.approx(values.mean().item(), abs=1e-6)
    assert (low, high) == (pytest.approx(mean - half, abs=0.02), pytest.approx(mean + half, abs=0.02))
    repeated = bootstrap_ci(values.repeat_interleave(5), block_size=5)
    assert repeated == pytest.approx((mean, low, high), abs=1e-6)


def test_a_share_is_the_ratio_of_means_with_both_drawn_together():
    a = torch.rand(300, generator=torch.Generator().manual_seed(1))
    assert bootstrap_ci(a, denominator=2 * a) == pytest.approx((0.5, 0.5, 0.5))
    b = torch.rand(300, generator=torch.Generator().manual_seed(2)) + 1
    mean, low, high = bootstrap_ci(a, denominator=b)
    assert mean == pytest.approx((a.mean() / b.mean()).item(), abs=1e-6)
    spread = (a - mean * b).std().item() / b.mean().item() / math.sqrt(300)  # by the delta method
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.05)


def test_frames_of_a_video_are_drawn_together_where_there_are_enough():
    assert [bootstrap_block_size("stb", n) for n in (1, 49, 50, 1500)] == [1, 1, 25, 25]
    assert [bootstrap_block_size("realhand", n) for n in (29, 30, 120)] == [1, 15, 15]
    assert (
        bootstrap_block_size("synth-stb", 1500) == 25
        and bootstrap_block_size("synth-rhd", 1500) == bootstrap_block_size("rhd", 2728) == 1
    )


def test_a_sample_that_one_method_has_no_error_for_is_left_out_of_all():
    a, b = torch.arange(8.0), torch.arange(8.0) + 10
    b[2] = math.nan
    found = drop_missing({"a": a, "b": b}, block_size=3)
    assert found["a"].tolist() == [0, 1, 3, 4, 5, 6] and torch.equal(found["b"] - found["a"], torch.full((6,), 10.0))
    assert bootstrap_ci(found["b"] - found["a"], 3) == (10, 10, 10)
    assert drop_missing({"a": torch.tensor([math.inf, 1.0])})["a"][0] == math.inf  # a diverged model is not excused


@pytest.mark.parametrize(
    "found, up, down",
    [((2, 1, 3), "yes", "no"), ((-2, -3, -1), "no", "yes"), ((1, -1, 3), "open", "open"), ((0, 0, 0), "open", "open")],
)
def test_an_answer_takes_the_whole_interval(found, up, down):
    assert answer(found) == up and answer(found, -1) == down


def test_an_improvement_is_a_share_of_the_others_mean():
    over = torch.tensor([10.0, 20.0, 30.0, 40.0])
    # Every sample is better by the same share: no draw of samples says anything else.
    assert improvement(0.9 * over, over) == pytest.approx((10, 10, 10), abs=1e-4)
    mean, low, high = improvement(over - torch.tensor([4.0, 0.0, 0.0, 0.0]), over)
    assert mean == pytest.approx(4.0) and low < mean < high
    mean, low, high = improvement(over + 5 * torch.randn(4, generator=torch.Generator().manual_seed(1)).abs(), over)
    assert low <= mean <= high < 0


def trainings(rng, seeds, units, spread, ratio=1.0):
    """Errors (seeds, units) of two methods, the second's mean 1 / ratio of the first's: units that are hard for both,
    some harder for one; seeds that differ by `spread` on all units and by more on each.
    """
    hard = rng.lognormal(0, 0.3, units)
    return [
        torch.from_numpy(
            scale
            * hard
            * rng.lognormal(-0.005, 0.1, units)
            * (1 + spread * rng.normal(size=(seeds, 1)))
            * rng.lognormal(-0.005, 0.1, (seeds, units))
        )
        for scale in (ratio, 1.0)
    ]


def two_level_bootstrap(rng, ours, theirs, draws=400):
    """The percentiles that redrawing seeds and units gives, for comparison."""
    units = rng.integers(ours.shape[1], size=(draws, ours.shape[1]))
    means = []
    for matrix in (ours.numpy(), theirs.numpy()):
        drawn = rng.integers(len(matrix), size=(draws, len(matrix)))
        means.append(matrix[drawn[:, :, None], units[:, None, :]].mean((1, 2)))
    return np.percentile(means[0] / means[1], [2.5, 97.5])


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("units", [40, 160])
@pytest.mark.parametrize("spread", [0.0, 0.02, 0.04])
def test_an_interval_over_seeds_holds_the_truth_as_often_as_it_says(seeds, units, spread):
    rng = np.random.default_rng([seeds, units])
    held = []
    for _ in range(1000):
        _, low, high = ratio_ci(*trainings(rng, seeds, units, spread, ratio=1.2))
        held.append(low <= 1.2 <= high)
    assert 0.93 <= np.mean(held) <= 0.99


def test_redrawing_three_seeds_would_be_too_sure():
    rng = np.random.default_rng(0)
    held = []
    for _ in range(300):
        pair = trainings(rng, 3, 160, 0.08)
        (_, *ours), drawn = ratio_ci(*pair), two_level_bootstrap(rng, *pair)
        held.append([low <= 1 <= high for low, high in (ours, drawn)])
    ours, drawn = np.sum(held, 0) / 300
    assert ours >= 0.93 and drawn <= 0.85


def test_without_one_source_of_variance_an_interval_is_students():
    rng = np.random.default_rng(1)
    a, b = (torch.from_numpy(rng.normal(m, 1, (k, 1)).repeat(50, 1)) for m, k in ((3, 4), (2, 6)))  # units are alike
    test = ttest_ind(a[:, 0], b[:, 0], equal_var=False).confidence_interval(0.9)
    assert contrast_ci([(1, a), (-1, b)], log=False, level=0.9)[1:] == pytest.approx((test.low, test.high))
    a, b = (torch.from_numpy(rng.normal(m, 1, (1, 50)).repeat(4, 0)) for m in (3, 2))  # seeds are alike
    test = ttest_rel(a[0], b[0]).confidence_interval()
    assert contrast_ci([(1, a), (-1, b)], log=False)[1:] == pytest.approx((test.low, test.high))


def test_a_contrast_takes_weights_and_refuses_what_cannot_vary():
    units = 1 + torch.rand(1, 50, generator=torch.Generator().manual_seed(0))
    a, b, c = (factor * units.repeat(3, 1) for factor in (1, 4, 16))
    estimate, low, high = contrast_ci([(-0.5, a), (0.0, b), (0.5, c)])  # the slope over equal steps, in logarithms
    assert (estimate, low, high) == pytest.approx((math.log(4),) * 3)
    with pytest.raises(ValueError, match="two seeds"):
        ratio_ci(a[:1], b[:1])
