"""The figure of the disagreement shows shares and squares of what it is given; without photographs, how to get them."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dvae_lib.plots import photographs
from dvae_lib.predict import Box, Prediction, Sight


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def example(left):
    pose, picture = torch.zeros(21, 3), np.zeros((256, 256, 3), np.uint8)
    sight = Sight(Path("x"), picture, (256, 256), Box(left, 0.0, 90.0), False, torch.zeros(3, 32, 32))
    return Prediction(sight, "image", pose, pose[:, 0], pose[:, :2], disagreement_mm=left)


def test_the_disagreement_is_drawn_as_shares(monkeypatch):
    monkeypatch.setattr(photographs.settings, "is_here", lambda name: True)
    hands, no_hands = torch.rand(40) + 1, 20 * torch.rand(7) + 20
    figure = photographs.disagreement(hands, no_hands, [example(0.0), example(166.0)])
    histogram, *pictures = figure.axes
    for container in histogram.containers:
        assert sum(patch.get_height() for patch in container) == pytest.approx(1)
    assert [ax.get_xlim() for ax in pictures] == [(0, 90), (166, 256)]
    assert [ax.get_title() for ax in pictures] == ["0 mm", "166 mm"]


def test_without_the_photographs_it_says_how_to_get_them(monkeypatch):
    monkeypatch.setattr(photographs.settings, "is_here", lambda name: False)
    assert "accept-licence" in photographs.disagreement().axes[0].texts[0].get_text()
