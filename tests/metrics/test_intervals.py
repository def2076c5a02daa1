"""Intervals are those of the mean, and comparisons are of the same samples."""

import math

import pytest
import torch
from scipy.stats import norm

from dvae_lib.metrics.intervals import answer, bootstrap_block_size, bootstrap_ci, drop_missing, improvement


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
