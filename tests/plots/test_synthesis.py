"""Walks that were drawn before are shown as they are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dvae_lib.plots.synthesis import recorded_walks


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_the_walks_of_a_pair_are_side_by_side():
    walks = {name: torch.randint(256, (2, 7, 3, 8, 8)).byte() for name in ("with", "without")}
    axes = np.reshape(recorded_walks(walks).axes, (4, 7))
    assert [line[0].get_ylabel() for line in axes] == ["with", "without"] * 2
    for row, line in enumerate(axes):
        pair, name = row // 2, ("with", "without")[row % 2]
        for step, ax in enumerate(line):
            shown = np.asarray(ax.images[0].get_array())
            np.testing.assert_allclose(shown, walks[name][pair, step].permute(1, 2, 0) / 255, atol=1e-6)


def test_without_a_record_it_says_so():
    assert "No seed" in recorded_walks({}).axes[0].texts[0].get_text()
