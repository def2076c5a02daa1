"""The figures of chapter 2: the skeleton, its frames and cameras, samples of the data sets, and their splits.

Images are those that data sets deliver, uint8 (3, S, S), and are drawn in their own pixels: an image of S pixels spans
[0, S], so that joints projected with the crop's camera can be drawn over it as they are.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from numpy.typing import NDArray
from torch import Tensor

from dvae_lib.hand import BONES, FINGERS, JOINTS, LITTLE_MCP, MIDDLE_MCP
from dvae_lib.plots.hands import FINGER_COLOURS, INK, MUTED, draw_skeleton, grid, show_image

# Of each joint, and of the bone that ends there.
_COLOURS = [INK] + [FINGER_COLOURS[finger] for finger, chain in FINGERS.items() for _ in chain]


def show_sample(ax: Axes, image: NDArray, joints: Tensor | None = None, **style) -> None:
    """An image (3, S, S) or (S, S) in its own pixels, with the joints (21, 2) over it if given."""
    size = image.shape[-1]
    picture = image.transpose(1, 2, 0) if image.ndim == 3 else image
    ax.imshow(picture, extent=(0, size, size, 0), interpolation="nearest", **style)
    show_image(ax)
    if joints is not None:
        draw_skeleton(ax, joints, width=max(1.0, 0.012 * size))
    ax.set(xlim=(0, size), ylim=(size, 0))


def labelled_skeleton(image: NDArray, joints: Tensor) -> Figure:
    """The 21 joints (21, 2) on a hand (3, S, S), numbered there and named beside it."""
    figure, (ax, names) = plt.subplots(1, 2, figsize=(7.6, 4.4), width_ratios=(1.25, 1), layout="constrained")
    show_sample(ax, image)
    draw_skeleton(ax, joints, width=3)
    for number, ((u, v), colour) in enumerate(zip(joints.tolist(), _COLOURS, strict=True)):
        ax.text(
            u, v, number, color="white", fontsize=7.5, weight="bold", ha="center", va="center",
            bbox={"boxstyle": "circle,pad=0.18", "facecolor": colour, "edgecolor": "white", "linewidth": 0.8},
        )  # fmt: skip
    names.axis("off")
    names.set(xlim=(0, 1), ylim=(5.75, -0.35))
    names.text(0, 0, "0  root: palm centre or wrist", color=INK, weight="bold", va="center")
    for row, (finger, chain) in enumerate(FINGERS.items(), start=1):
        names.text(0, row - 0.17, finger, color=FINGER_COLOURS[finger], weight="bold", va="center")
        joints_of = "   ".join(f"{j} {JOINTS[j].split()[1]}" for j in chain)
        names.text(0, row + 0.2, joints_of, color=INK, va="center", fontsize=9.5)
    return figure


def joint_orders(image: NDArray, readings: Mapping[str, Tensor]) -> Figure:
    """The same labels read in several orders, each a skeleton (21, 2) over the image."""
    figure, axes = grid(1, len(readings), column_names=list(readings), cell=2.3)
    for ax, joints in zip(axes[0], readings.values(), strict=True):
        show_sample(ax, image, joints)
    return figure


def _space(ax: Axes3D, reach: float, centre: Sequence[float] = (0, 0, 0)) -> None:
    """Axes of space as the camera has them: x right, y down, z away from the viewer, who stands a little aside."""
    x, y, z = centre
    ax.set(xlim=(x - reach, x + reach), ylim=(z - reach, z + reach), zlim=(-y - reach, -y + reach))
    ax.set_box_aspect((1, 1, 1), zoom=1.5)
    ax.view_init(elev=14, azim=-68)
    ax.set_axis_off()


def _skeleton(ax: Axes3D, pose: Tensor, width: float = 2.4, alpha: float = 1.0) -> None:
    """A pose (21, 3) in space; the palm is filled, so that the eye sees which way it faces."""
    points = pose.numpy()[:, [0, 2, 1]] * (1, 1, -1)
    palm = Poly3DCollection([points[[1, 5, 9, 13, 17]]], facecolor="#e8b896", edgecolor="none", alpha=0.45 * alpha)
    ax.add_collection3d(palm)
    for bone in BONES:
        ax.plot(*points[list(bone)].T, color=_COLOURS[bone[1]], linewidth=width, alpha=alpha, solid_capstyle="round")


def _triad(ax: Axes3D, axes: Tensor | NDArray, length: float, colour: str = INK) -> None:
    """Three arrows from the origin along the rows of `axes` (3, 3)."""
    for (x, y, z), name in zip(length * np.asarray(axes), "xyz", strict=True):
        ax.quiver(0, 0, 0, x, z, -y, color=colour, linewidth=1.4, arrow_length_ratio=0.16)
        ax.text(1.18 * x, 1.18 * z, -1.18 * y, name, color=colour, ha="center", va="center", style="italic")


def three_rotations(stages: Mapping[str, Tensor]) -> Figure:
    """A pose (21, 3) about its root, before and after each rotation, with the two joints that steer them."""
    figure = plt.figure(figsize=(7.2, 7.2), layout="constrained")
    for place, (name, pose) in enumerate(stages.items(), start=1):
        ax = figure.add_subplot(2, 2, place, projection="3d", computed_zorder=False)
        _space(ax, 2.7)
        _triad(ax, np.eye(3), 2.2, MUTED)
        _skeleton(ax, pose)
        for joint in (MIDDLE_MCP, LITTLE_MCP):
            x, y, z = pose[joint].tolist()
            ax.scatter(x, z, -y, s=60, color=_COLOURS[joint], edgecolor=INK, zorder=9)
        ax.set_title(name, fontsize=11, y=0.96)
    return figure


def canonical_frame(poses: Tensor, cposes: Tensor, viewpoints: Tensor) -> Figure:
    """Three poses (3, 21, 3) with the axes of their viewpoints (3, 3, 3), and all CPoses (3, 21, 3) in one frame."""
    figure = plt.figure(figsize=(7.2, 7.2), layout="constrained")
    for place in range(4):
        ax = figure.add_subplot(2, 2, place + 1, projection="3d", computed_zorder=False)
        _space(ax, 2.7)
        _triad(ax, viewpoints[place] if place < 3 else np.eye(3), 2.0)
        if place < 3:
            _skeleton(ax, poses[place])
        else:
            for width, cpose in zip((7, 4, 1.5), cposes, strict=True):
                _skeleton(ax, cpose, width, alpha=0.6)
        ax.set_title(f"3DPose {place + 1} and its viewpoint" if place < 3 else "the CPose of all three", y=0.96)
    return figure
