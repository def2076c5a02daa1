"""The figures of chapter 11 show the images that are given, and the errors that the log-likelihoods stand for."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dvae_lib.models.objectives import log_likelihood
from dvae_lib.plots.hands import INPUT, image_rows
from dvae_lib.plots.own_factors import learning


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_a_row_may_be_shorter_and_only_the_named_columns_are_framed():
    images = torch.zeros(4, 3, 8, 8)
    axes = np.reshape(image_rows({"a": images, "b": images[:2]}, {"a": [0, 3]}).axes, (2, 4))
    assert [[len(ax.images) for ax in line] for line in axes] == [[1] * 4, [1, 1, 0, 0]]
    framed = [[ax.spines["left"].get_visible() for ax in line] for line in axes]
    assert framed == [[True, False, False, True], [False] * 4]
    assert axes[0, 0].spines["left"].get_edgecolor() == plt.matplotlib.colors.to_rgba(INPUT)


def test_log_likelihoods_are_shown_as_errors():
    errors, numbers = {"colour": 0.5, "image": 0.2}, {"colour": 3, "image": 12}
    line = {
        f"{source}→{name}": log_likelihood(torch.zeros(1, n), torch.full((1, n), scale * errors[name])).item()
        for source, scale in (("disentangling", 1.0), ("image", 2.0))
        for name, n in numbers.items()
    }
    first = [{"step": s} | {k: v for k, v in line.items() if k[0] == "d"} for s in (0, 10, 20)]
    second = [{"step": s} | {k: v for k, v in line.items() if k[0] == "i"} for s in (30, 40, 50)]
    figure = learning(first + second, numbers, {"disentangling": "labels", "image": "image"}, smooth=2)
    for ax, scale in zip(figure.axes, (1.0, 2.0), strict=True):
        assert list(ax.lines[0].get_xdata()) == [10, 20]  # each stage counts from its own start
        for drawn, name in zip(ax.lines, numbers, strict=True):
            np.testing.assert_allclose(drawn.get_ydata(), scale * errors[name], rtol=1e-4)
