"""The figure of chapter 09 shows the importances that are given."""

import matplotlib.pyplot as plt
import numpy as np

from dvae_lib.metrics.disentanglement import DCI
from dvae_lib.plots.disentanglement import importances


def test_importances_go_up_for_the_first_factor_and_down_for_the_second():
    importance = np.array([[0.7, 0.0], [0.2, 0.1], [0.1, 0.9]])
    found = DCI(importance, 0.8, 0.7, 0.6)
    figure = importances({"parts": found, "whole": found}, ("pose", "room"), {"parts": 2})
    first, second = figure.axes
    heights = [bar.get_height() for bar in first.patches]
    np.testing.assert_allclose(heights, [*importance[:, 0], *-importance[:, 1]])
    dashed = [[line.get_xdata()[0] for line in ax.lines if line.get_linestyle() == "--"] for ax in (first, second)]
    assert dashed == [[1.5], []]
    plt.close(figure)
