"""Figures of chapter 01: whole hands, wherever their root lies."""

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.collections import LineCollection

from dvae_lib.plots.elbo import pose_rows
from dvae_lib.plots.hands import show_pose


def test_every_hand_is_whole_and_all_are_to_one_scale():
    torch.manual_seed(0)
    poses = torch.randn(5, 21, 3) + torch.tensor([0.0, -3.0, 7.0])  # fingers point up from the root
    figure = pose_rows({"few": poses[:2], "more": 0.5 * poses[2:]})
    seen = 0
    for ax in figure.axes:
        for bone in (c for c in ax.collections if isinstance(c, LineCollection)):
            x, y = bone.get_segments()[0].T
            assert min(ax.get_xlim()) < x.min() and x.max() < max(ax.get_xlim())
            assert min(ax.get_ylim()) < y.min() and y.max() < max(ax.get_ylim())
            seen += 1
    assert seen == 5 * 20 * 2  # each bone and its halo
    assert len({ax.get_xlim() for ax in figure.axes if ax.collections}) == 1
    plt.close(figure)


def test_a_hand_larger_than_usual_is_whole():
    figure, ax = plt.subplots()
    show_pose(ax, 10 * torch.randn(21, 3, generator=torch.manual_seed(0)))
    points = np.concatenate([bone.get_segments()[0] for bone in ax.collections])
    limits = np.sort([ax.get_xlim(), ax.get_ylim()])
    assert (limits[:, 0] < points.min(0)).all() and (points.max(0) < limits[:, 1]).all()
    plt.close(figure)
