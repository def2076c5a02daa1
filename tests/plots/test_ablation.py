"""The figures of chapter 08 count what they say, and their curves are the means of what is given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dvae_lib.metrics.intervals import contrast_ci
from dvae_lib.plots.ablation import beta_d, water_level


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_dimensions_with_a_use_are_variances_above_the_level():
    variances = torch.tensor([8.0, 2.0, 0.5, 0.1])
    figure = water_level({"image": variances}, {"image": 1.0}, d=3)
    curve, dot, line = figure.axes[0].lines
    for level, count in zip(curve.get_xdata(), curve.get_ydata(), strict=True):
        assert count == sum(v > level for v in variances.tolist())
    assert (dot.get_xdata(), dot.get_ydata()) == ([1.0], [2]) and set(line.get_ydata()) == {3}


def grid(seeds=3):
    generator = torch.Generator().manual_seed(0)
    return {
        (b, d): {name: torch.rand(seeds, 30, generator=generator) + b * d for name in ("reconstruction", "KL")}
        for b in (1, 10)
        for d in (2, 8, 32)
    }


def test_curves_of_the_grid_are_means_with_intervals_over_seeds_and_units():
    found = grid()
    figure = beta_d(found)
    for ax, name in zip(figure.axes, ("reconstruction", "KL"), strict=True):
        assert [line.get_label() for line in ax.lines] == ["d = 2", "d = 8", "d = 32"]
        for line, bars, d in zip(ax.lines, ax.collections, (2, 8, 32), strict=True):
            expected = [contrast_ci([(1.0, found[b, d][name])], log=False) for b in (1, 10)]
            np.testing.assert_allclose(line.get_ydata(), [mean for mean, _, _ in expected], rtol=1e-5)
            ends = [list(segment[:, 1]) for segment in bars.get_segments()]
            np.testing.assert_allclose(ends, [(low, high) for _, low, high in expected], rtol=1e-5)


def test_points_that_are_missing_are_left_out_and_one_seed_has_no_interval():
    found = {point: values for point, values in grid(seeds=1).items() if point not in ((1, 2), (10, 8))}
    ax, _ = beta_d(found).axes
    assert [[round(x) for x in line.get_xdata()] for line in ax.lines] == [[9], [1], [1, 11]]
    assert all(len(bar) == 0 for bars in ax.collections for bar in bars.get_segments())
