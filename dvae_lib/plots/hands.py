"""The elements of every figure: the style, images and skeletons."""

import functools
import sys
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib import settings
from dvae_lib.hand import BONES, FINGERS

# Okabe & Ito's colours, which colour-blind readers can distinguish; one for each finger from the thumb.
FINGER_COLOURS = dict(zip(FINGERS, ("#D55E00", "#E69F00", "#009E73", "#0072B2", "#CC79A7"), strict=True))
INK, TRUTH, OURS, MUTED = "#1a1a1a", "#D55E00", "#0072B2", "#8c8c8c"
INPUT = "#c00000"  # the frame of the model's inputs, as in the paper
BONE_COLOURS = [
    next(colour for finger, colour in FINGER_COLOURS.items() if child in FINGERS[finger]) for _, child in BONES
]


def use_book_style() -> None:
    """Sets the style of the book's figures, on opaque white, which also suits the dark theme.

    In notebooks, figures are vector graphics.
    """
    if "ipykernel" in sys.modules:
        from matplotlib_inline.backend_inline import set_matplotlib_formats

        set_matplotlib_formats("svg")
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "font.size": 11,
            "text.usetex": False,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.prop_cycle": plt.cycler(color=["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]),
            "legend.frameon": False,
        }
    )


def to_picture(image: Tensor) -> np.ndarray:
    """A model's image (C, S, S) in [−1, 1] as (S, S, 3) in [0, 1]."""
    picture = ((image.detach().float().cpu() + 1) / 2).clamp(0, 1).permute(1, 2, 0).numpy()
    return np.repeat(picture, 3, axis=2) if picture.shape[2] == 1 else picture


def show_image(ax: Axes, image: Tensor | None = None, frame: str | None = None) -> None:
    """An image (C, S, S) in [−1, 1] without ticks; `frame`: the colour of a border, red for inputs as in the papers."""
    if image is not None:
        ax.imshow(to_picture(image), interpolation="nearest", extent=(-1, 1, 1, -1))
    ax.set(xticks=[], yticks=[])
    for spine in ax.spines.values():
        spine.set(visible=frame is not None, color=frame, linewidth=2.5)


def draw_skeleton(
    ax: Axes,
    points: Tensor | np.ndarray,
    colour: str | None = None,
    width: float = 2.0,
    depth: Tensor | np.ndarray | None = None,
    halo: bool = True,
) -> None:
    """A skeleton (21, 2) in the units of the axes, with one colour for each finger, or `colour` for all.

    depth: (21,), larger is farther; near bones are drawn over far ones, and thicker.
    """
    points = np.asarray(points, dtype=float)
    segments = points[np.array(BONES)]
    depth = np.zeros(21) if depth is None else np.asarray(depth, dtype=float)
    middle = depth[np.array(BONES)].mean(1)
    order = np.argsort(-middle, kind="stable")
    spread = np.ptp(middle)
    nearness = (middle.max() - middle) / spread if spread > 0 else np.full(len(BONES), 0.5)
    colours = np.array(BONE_COLOURS if colour is None else [colour] * len(BONES), dtype=object)
    widths = width * (0.7 + 0.8 * nearness)
    for bone in order:
        if halo:
            ax.add_collection(LineCollection([segments[bone]], colors="white", linewidths=1.6 * widths[bone]))
        ax.add_collection(
            LineCollection([segments[bone]], colors=colours[bone], linewidths=widths[bone], capstyle="round")
        )


def show_keypoints(ax: Axes, keypoints: Tensor, image: Tensor | None = None, colour: str | None = None) -> None:
    """2D keypoints (21, 2), where the crop spans [−1, 1], over an image if given."""
    show_image(ax, image)
    draw_skeleton(ax, keypoints.detach().cpu(), colour)
    ax.set(xlim=(-1, 1), ylim=(1, -1), aspect="equal")


def show_pose(ax: Axes, pose: Tensor, colour: str | None = None, reach: float = 2.3) -> None:
    """A normalised 3D pose (21, 3) as the camera sees it, without perspective, centred.

    reach: half the width shown, in bone scales; it is increased for larger hands, as decoded from some random latents.
    """
    pose = pose.detach().cpu()
    low, high = pose.amin(0), pose.amax(0)
    middle, reach = (low + high) / 2, max(reach, 0.53 * (high - low)[:2].max().item())
    draw_skeleton(ax, (pose - middle)[:, :2], colour, depth=pose[:, 2])
    show_image(ax)
    ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")


def grid(
    rows: int,
    columns: int,
    row_names: Sequence[str] = (),
    column_names: Sequence[str] = (),
    cell: float = 1.1,
) -> tuple[Figure, np.ndarray]:
    """A figure and its empty square axes (rows, columns), with row names on the left and column names above."""
    margin = 1.0 if row_names else 0.0
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(cell * columns + margin, cell * rows),
        squeeze=False,
        gridspec_kw={"wspace": 0.04, "hspace": 0.04},
    )
    for ax in axes.flat:
        show_image(ax)
    for ax, name in zip(axes[:, 0], row_names, strict=False):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=6)
    for ax, name in zip(axes[0], column_names, strict=False):
        ax.set_title(name, fontsize=11)
    return figure, axes


def image_rows(rows: Mapping[str, Tensor], framed: Mapping[str, Sequence[int]] | None = None) -> Figure:
    """A named row for each entry of images (N, C, S, S); framed: by row, the columns whose images have a frame."""
    figure, axes = grid(len(rows), max(map(len, rows.values())), list(rows), cell=0.85)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for column, (ax, image) in enumerate(zip(line, images, strict=False)):
            show_image(ax, image, INPUT if framed and column in framed.get(name, ()) else None)
    return figure


def sentence(text: str) -> Figure:
    """A sentence that replaces a figure that cannot be shown."""
    figure, ax = plt.subplots(figsize=(7.5, 1.6))
    ax.text(0.5, 0.5, text, ha="center", va="center", color=INK)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set(visible=True, color=MUTED)
    return figure


def missing(name: str, how: str = "downloaded") -> Figure:
    """Replaces a figure whose data are missing or incomplete, and states how to get them."""
    return sentence(f"{name} is not {how}. Run\n{settings.DOWNLOAD[name]}\nand build the book again.")


def of_photographs(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Decorates a function that plots the photographs: if they are missing, the figure states how to get them."""

    @functools.wraps(draw)
    def wrapper(*args, **kwargs) -> Figure:
        return draw(*args, **kwargs) if settings.is_here("realhand") else missing("realhand")

    return wrapper
