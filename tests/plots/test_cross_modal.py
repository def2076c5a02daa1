"""The curves of chapter 03 are means over seeds, at the steps of the looks."""

import matplotlib.pyplot as plt
import pytest
import torch

from dvae_lib.experiments.records import Record
from dvae_lib.plots.cross_modal import watched


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def seed(bounds, moved):
    return Record({}, {"curve/image held-out bound": torch.tensor(bounds), "curve/image moved": torch.tensor(moved)})


def test_curves_are_means_over_seeds_and_slower_arms_are_divided():
    joint = [seed([-3.0, -1.0, 0.0], [0.5, 0.25]), seed([-5.0, -1.0, 2.0], [1.5])]  # the second was resumed
    passes = [seed([-9.0, -6.0, -3.0], [1.0, 1.0])]
    figure = watched({"joint": joint, "alternating": [], "passes": passes}, 20, {"passes": 4})
    bounds, moved = (ax.lines for ax in figure.axes)
    assert [line.get_label() for line in bounds] == ["joint", "passes (step / 4)"]
    assert [list(line.get_xdata()) for line in bounds] == [[0, 20, 40], [0, 5, 10]]
    assert [list(line.get_ydata()) for line in bounds] == [[-4, -1, 1], [-9, -6, -3]]
    assert [list(line.get_xdata()) for line in moved] == [[20], [5, 10]]  # at the first look nothing has moved yet
    assert [list(line.get_ydata()) for line in moved] == [[1.0], [1.0, 1.0]]
    band = figure.axes[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == pytest.approx(-4 - 2**0.5) and band[:, 1].max() == pytest.approx(1 + 2**0.5)


def test_without_a_seed_it_says_so():
    figure = watched({"joint": [], "alternating": []}, 20, {})
    assert "No seed" in figure.axes[0].texts[0].get_text()
