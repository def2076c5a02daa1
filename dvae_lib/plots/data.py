"""The figures of chapter 2: the skeleton, its frames and cameras, samples of the data sets, and their splits.

Images are as data sets provide them, uint8 (3, S, S), and are plotted in pixel coordinates: an image of S pixels spans
[0, S], so that joints projected with the crop's camera can be plotted over it directly.
"""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Poly3DCollection
from torch import Tensor

from dvae_lib.hand import BONES, FINGERS, JOINTS, LITTLE_MCP, MIDDLE_MCP
from dvae_lib.plots.hands import (
    FINGER_COLOURS,
    INK,
    MUTED,
    OURS,
    TRUTH,
    draw_skeleton,
    grid,
    show_image,
    show_keypoints,
)

# The colour of each joint, and of the bone that ends there.
_COLOURS = [INK] + [FINGER_COLOURS[finger] for finger, chain in FINGERS.items() for _ in chain]


def show_sample(ax: Axes, image: np.ndarray, joints: Tensor | None = None, **style) -> None:
    """An image (3, S, S) or (S, S) in pixel coordinates, with the joints (21, 2) over it if given."""
    size = image.shape[-1]
    picture = image.transpose(1, 2, 0) if image.ndim == 3 else image
    ax.imshow(picture, extent=(0, size, size, 0), interpolation="nearest", **style)
    show_image(ax)
    if joints is not None:
        draw_skeleton(ax, joints, width=1.6)
    ax.set(xlim=(0, size), ylim=(size, 0))


def _number(ax: Axes, joints: Tensor, size: float = 7.5) -> None:
    """Writes the number of each joint at its position (21, 2)."""
    for number, ((u, v), colour) in enumerate(zip(joints.tolist(), _COLOURS, strict=True)):
        disc = {"boxstyle": "circle,pad=0.18", "facecolor": colour, "edgecolor": "white", "linewidth": 0.8}
        ax.text(u, v, number, color="white", fontsize=size, weight="bold", ha="center", va="center", bbox=disc)


def labelled_skeleton(image: np.ndarray, joints: Tensor) -> Figure:
    """The 21 joints (21, 2) on a hand (3, S, S), numbered in the image and named beside it."""
    figure, (ax, names) = plt.subplots(1, 2, figsize=(7.6, 4.4), width_ratios=(1.25, 1), layout="constrained")
    show_sample(ax, image, joints)
    _number(ax, joints)
    names.axis("off")
    names.set(xlim=(0, 1), ylim=(5.75, -0.35))
    names.text(0, 0, "0  root: palm centre or wrist", color=INK, weight="bold", va="center")
    for row, (finger, chain) in enumerate(FINGERS.items(), start=1):
        names.text(0, row - 0.17, finger, color=FINGER_COLOURS[finger], weight="bold", va="center")
        joints_of = "   ".join(f"{j} {JOINTS[j].split()[1]}" for j in chain)
        names.text(0, row + 0.2, joints_of, color=INK, va="center", fontsize=9.5)
    return figure


def joint_orders(image: np.ndarray, readings: Mapping[str, Tensor]) -> Figure:
    """The same labels interpreted in several joint orders, each a skeleton (21, 2) over the image."""
    figure, axes = grid(1, len(readings), column_names=list(readings), cell=2.9)
    for ax, joints in zip(axes[0], readings.values(), strict=True):
        show_sample(ax, image, joints)
        _number(ax, joints, size=5.5)
    return figure


def _space(ax: Axes3D, *contents: Tensor | np.ndarray, reach: float = 2.6) -> None:
    """Sets up axes around points (…, 3) in the camera's frame (x right, y down, z forward), viewed at an angle."""
    points = np.concatenate([np.asarray(content) for content in contents])
    x, y, z = (points.min(0) + points.max(0)) / 2
    ax.set(xlim=(x - reach, x + reach), ylim=(z - reach, z + reach), zlim=(-y - reach, -y + reach))
    ax.set_box_aspect((1, 1, 1), zoom=1.5)
    ax.view_init(elev=14, azim=-68)
    ax.set_axis_off()


def _skeleton(ax: Axes3D, pose: Tensor, width: float = 2.4, alpha: float = 1.0) -> None:
    """A pose (21, 3) in space; the palm is filled to show which way it faces."""
    points = pose.numpy()[:, [0, 2, 1]] * (1, 1, -1)
    palm = Poly3DCollection([points[[1, 5, 9, 13, 17]]], facecolor="#e8b896", edgecolor="none", alpha=0.45 * alpha)
    ax.add_collection3d(palm)
    for bone in BONES:
        ax.plot(*points[list(bone)].T, color=_COLOURS[bone[1]], linewidth=width, alpha=alpha, solid_capstyle="round")


def _triad(ax: Axes3D, axes: Tensor | np.ndarray, colour: str = INK) -> None:
    """Three arrows from the origin, the rows of `axes` (3, 3)."""
    for (x, y, z), name in zip(np.asarray(axes), "xyz", strict=True):
        ax.quiver(0, 0, 0, x, z, -y, color=colour, linewidth=1.4, arrow_length_ratio=0.16)
        ax.text(1.18 * x, 1.18 * z, -1.18 * y, name, color=colour, ha="center", va="center", style="italic")


def three_rotations(stages: Mapping[str, Tensor]) -> Figure:
    """A pose (21, 3) relative to its root, before and after each rotation, with the two joints that define them."""
    figure = plt.figure(figsize=(7.2, 6.6))
    figure.subplots_adjust(0, 0, 1, 0.93, 0, 0.12)
    for place, (name, pose) in enumerate(stages.items(), start=1):
        ax = figure.add_subplot(2, 2, place, projection="3d", computed_zorder=False)
        axes = 1.4 * np.eye(3)
        _space(ax, pose, 1.2 * axes)
        _triad(ax, axes, MUTED)
        _skeleton(ax, pose)
        for joint in (MIDDLE_MCP, LITTLE_MCP):
            x, y, z = pose[joint].tolist()
            ax.scatter(x, z, -y, s=60, color=_COLOURS[joint], edgecolor=INK, zorder=9)
        ax.set_title(name, y=1.03)
    return figure


def canonical_frame(poses: Tensor, cposes: Tensor, viewpoints: Tensor) -> Figure:
    """Three poses (3, 21, 3) with the axes of their viewpoints (3, 3, 3), and all CPoses (3, 21, 3) in one frame."""
    figure = plt.figure(figsize=(7.2, 6.6))
    figure.subplots_adjust(0, 0, 1, 0.93, 0, 0.12)
    for place in range(4):
        ax = figure.add_subplot(2, 2, place + 1, projection="3d", computed_zorder=False)
        axes = 1.5 * (viewpoints[place] if place < 3 else torch.eye(3))
        _space(ax, poses[place] if place < 3 else cposes[0], 1.2 * axes)
        _triad(ax, axes)
        if place < 3:
            _skeleton(ax, poses[place])
        else:
            for width, cpose in zip((7, 4, 1.5), cposes, strict=True):
                _skeleton(ax, cpose, width, alpha=0.6)
        ax.set_title(f"3DPose {place + 1} and its viewpoint" if place < 3 else "the CPose of all three", y=1.03)
    return figure


def cropping(
    frame: np.ndarray, window: Sequence[float], joints: Tensor, crop: np.ndarray, crop_joints: Tensor
) -> Figure:
    """A camera's whole frame (3, H, W) with the window (left, top, side) cut from it, and the crop (3, S, S)."""
    _, height, width = frame.shape
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.7), width_ratios=(width / height, 1), layout="constrained")
    left.imshow(frame.transpose(1, 2, 0), extent=(0, width, height, 0))
    draw_skeleton(left, joints, width=1.2)
    x, y, side = window
    left.add_patch(Rectangle((x, y), side, side, fill=False, edgecolor=TRUTH, linewidth=2))
    left.plot(*joints[MIDDLE_MCP].tolist(), "+", color=INK, markersize=12, markeredgewidth=2)
    left.set(xlim=(0, width), ylim=(height, 0), xlabel="$u$ (pixels)", ylabel="$v$")
    show_sample(right, crop, crop_joints)
    size = crop.shape[-1]
    right.plot(size / 2, size / 2, "+", color=INK, markersize=16, markeredgewidth=2)
    show_image(right, frame=TRUTH)
    return figure


def fields(sample: Mapping[str, np.ndarray], joints: Tensor) -> Figure:
    """One sample's image, depth, mask and joints (21, 2)."""
    figure, axes = grid(1, 4, column_names=("image", "depth", "mask", "joints"), cell=2.0)
    image, depth = sample["image"], sample["depth"].astype(float)
    show_sample(axes[0, 0], image)
    show_sample(axes[0, 1], np.ma.masked_equal(depth, 0), cmap="viridis_r")
    show_sample(axes[0, 2], part_colours(sample["mask"]))
    show_sample(axes[0, 3], np.full_like(image, 255), joints)
    return figure


def part_colours(mask: np.ndarray) -> np.ndarray:
    """A mask (S, S) of RHD's part ids as a picture (3, S, S): fingers in their colours, lightest at the tip."""
    palette = [to_rgb("white"), to_rgb("#8c8c8c")]
    for colour in FINGER_COLOURS.values():
        palette += [tuple(pale + (1 - pale) * np.array(to_rgb(colour))) for pale in (0.55, 0.3, 0.0)]
    palette += [to_rgb("#e8b896")]
    ids = np.where(mask > 17, mask - 16, mask)
    return (255 * np.array(palette)[ids]).astype(np.uint8).transpose(2, 0, 1)


def pictures(images: np.ndarray, columns: int, names: Sequence[str] = (), cell: float = 1.25) -> Figure:
    """Images (N, 3, S, S) in rows of `columns`, each with its name below if given."""
    figure, axes = grid(-(-len(images) // columns), columns, cell=cell)
    if names:
        axes[0, 0].get_gridspec().update(hspace=0.28)
    for ax, image in zip(axes.flat, images, strict=False):
        show_sample(ax, image)
    for ax, name in zip(axes.flat, names, strict=False):
        ax.set_xlabel(name, fontsize=9, labelpad=2)
    return figure


def curling_finger(chains: Mapping[float, np.ndarray]) -> Figure:
    """The joints (4, 3) of a finger in mm, from the side, for several angles of its middle joint in degrees."""
    figure, ax = plt.subplots(figsize=(4.6, 3.4))
    colours = plt.colormaps["viridis"](np.linspace(0, 0.9, len(chains)))
    for (angle, chain), colour in zip(chains.items(), colours, strict=True):
        ax.plot(chain[:, 1], chain[:, 2], "-o", color=colour, linewidth=3, markersize=6, label=f"{angle:.0f}°")
    ax.set(aspect="equal", xlabel="towards the fingertip (mm)", ylabel="towards the back of the hand (mm)")
    ax.legend(title="PIP flexion", loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def sphere_tracing(
    grid_y: np.ndarray, grid_z: np.ndarray, distance: np.ndarray, ray: np.ndarray, radii: np.ndarray
) -> Figure:
    """A slice (H, W) of the distance to a hand, and the points (n, 2) of a ray with their free radii (n,)."""
    figure, ax = plt.subplots(figsize=(7.4, 4.2))
    levels = [0, 5, 10, 20, 30, 40, 50, 60]
    ax.contourf(grid_y, grid_z, distance, [-100, 0], colors=["#e8b896"])
    lines = ax.contour(grid_y, grid_z, distance, levels, colors=MUTED, linewidths=[2.0] + [0.7] * 7)
    ax.clabel(lines, levels[1:], fmt="%d mm", fontsize=8)
    for (y, z), radius in zip(ray, radii, strict=True):
        ax.add_patch(Circle((y, z), radius, fill=False, edgecolor=OURS, linewidth=1.1))
    ax.plot(*ray.T, "-o", color=OURS, markersize=4)
    ax.plot(*ray[-1], "o", color=TRUTH, markersize=7, zorder=9)
    limits = (grid_y.min(), grid_y.max()), (grid_z.min(), grid_z.max())
    ax.set(aspect="equal", xlim=limits[0], ylim=limits[1], xlabel="along the middle finger (mm)", ylabel="mm")
    return figure


def counterfactuals(rows: Mapping[str, np.ndarray]) -> Figure:
    """A row of images (n, 3, S, S) for each factor; the first image is the same in all rows, and framed."""
    figure, axes = grid(len(rows), len(next(iter(rows.values()))), row_names=list(rows), cell=1.2)
    for row, images in zip(axes, rows.values(), strict=True):
        for ax, image in zip(row, images, strict=True):
            show_sample(ax, image)
        show_image(row[0], frame=TRUTH)
    return figure


def leaks(lag: np.ndarray, change: Mapping[str, np.ndarray], memory: Mapping[str, float], baseline: float) -> Figure:
    """Left: the distance in mm of poses `lag` frames apart. Right: the error in mm of a memory model on each split."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.4), width_ratios=(1.25, 1), layout="constrained")
    for name, distance in change.items():
        left.plot(lag, distance, "-", label=name)
    left.set(xscale="log", xlabel="frames apart", ylabel="median distance (mm)", ylim=(0, None))
    left.legend(loc="upper left")
    places = range(len(memory))
    right.bar(places, list(memory.values()), width=0.6, color=OURS)
    right.axhline(baseline, color=INK, linestyle="--")
    right.text(-0.4, baseline, "mean pose", va="bottom")
    right.set(ylabel="EPE of the memory (mm)", ylim=(0, 1.2 * max(baseline, *memory.values())))
    right.set_xticks(places, list(memory))
    return figure


def augmented(batches: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Image and keypoints of the first two samples of each batch, in a named column."""
    figure, axes = grid(2, len(batches), column_names=list(batches), cell=1.5)
    for column, batch in enumerate(batches.values()):
        for row in range(2):
            show_keypoints(axes[row, column], batch["keypoints"][row], batch["image"][row])
    return figure


def areas(thresholds: Sequence[float], shares: Sequence[float]) -> Figure:
    """A PCK curve, with the area from 20 to 50 mm and the part of it that the public code omits."""
    figure, ax = plt.subplots(figsize=(7.5, 3.4))
    t = np.linspace(20, 50, 301)
    curve = np.interp(t, thresholds, shares)
    first = thresholds[8]
    ax.fill_between(t, curve, where=t >= first - 0.05, color=OURS, alpha=0.25, linewidth=0, label="public code")
    ax.fill_between(t, curve, where=t <= first + 0.05, color=TRUTH, alpha=0.8, linewidth=0, label="omitted by it")
    ax.plot(thresholds, shares, color=INK, linewidth=2, marker="o", markersize=4)
    ax.set(xlabel="threshold, mm", ylabel="PCK", xlim=(0, 50), ylim=(0, 1))
    ax.legend(loc="upper left")
    return figure


def baseline(average: Tensor, poses: Tensor, errors: Tensor) -> Figure:
    """The mean pose (21, 3) drawn over poses (N, 21, 3), and its error in mm for each joint (21,)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.2, 3.4), width_ratios=(1, 1.7), layout="constrained")
    for pose in poses:
        draw_skeleton(left, pose[:, :2], MUTED, width=0.5, halo=False)
    draw_skeleton(left, average[:, :2], width=3)
    left.set(xlim=(-3, 3), ylim=(1.6, -4.2), aspect="equal", xticks=[], yticks=[])
    left.spines[:].set_visible(False)
    right.bar(range(21), errors.tolist(), color=_COLOURS)
    right.set(ylabel="error (mm)")
    right.set_xticks(range(21), ["root", *(name.split()[1] for name in JOINTS[1:])], rotation=90, fontsize=9)
    return figure
