"""Samples of a data set side by side, to check that images, poses and cameras agree."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from dvae_lib.files import atomic_write
from dvae_lib.hand import project
from dvae_lib.plots.hands import draw_skeleton, grid, show_image


def contact_sheet(samples: Mapping[str, np.ndarray], columns: int = 8) -> Figure:
    """All samples in rows of `columns`, with the joints projected from pose and camera.

    samples: `image` (N, 3, S, S) uint8, `pose` (N, 21, 3) mm and `K` (N, 3, 3), as a source provides them.
    """
    count, _, _, size = samples["image"].shape
    images = torch.tensor(samples["image"]).float() / 127.5 - 1
    keypoints = 2 * project(torch.tensor(samples["pose"]), torch.tensor(samples["K"])) / size - 1
    figure, axes = grid(-(-count // columns), columns, cell=1.5)
    for ax, image, joints in zip(axes.flat, images, keypoints, strict=False):
        show_image(ax, image)
        draw_skeleton(ax, joints, width=1.0, halo=False)
        ax.set(xlim=(-1, 1), ylim=(1, -1))
    return figure


def save_contact_sheet(samples: Mapping[str, np.ndarray], path: Path, size: int) -> None:
    """Saves `contact_sheet` as a PNG, with crops of about `size` pixels."""
    figure = contact_sheet(samples)
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=size / 1.4, bbox_inches="tight")
