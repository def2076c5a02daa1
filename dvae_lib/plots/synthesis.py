"""The figures of chapter 04: what parts of a latent know of each other, and images recombined and walked through."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import MultivariateNormal

from dvae_lib.models import DVAE
from dvae_lib.plots.hands import MUTED, OURS, TRUTH, grid, show_image, show_pose

INPUT = "#c00000"  # the frame of what the model is given, as in the paper


def _parts(model: DVAE, batch: Mapping[str, Tensor], content: str) -> tuple[Tensor, Tensor]:
    """The means of the pose's part and of the other one, `content`, for every sample of a batch."""
    posteriors = model.encode(batch)
    return posteriors["pose"].mean, posteriors[content].mean


def _draw(model: DVAE, pose: Tensor, content: str, z: Tensor) -> dict[str, Tensor]:
    return model.decode(model.join({"pose": pose, content: z}))


@torch.inference_mode()
def pose_transfer(
    model: DVAE, batch: Mapping[str, Tensor], poses: Sequence[int], contents: Sequence[int], content: str = "tag"
) -> Figure:
    """Pose of one image, content of another, laid out as the paper's Fig. 6.

    A row for each of `poses`: the image, its true pose, and the pose before each content; the tag images on top.
    """
    pose, other = _parts(model, batch, content)
    shown = batch["tag" if content == "tag" else "image"]
    figure, axes = grid(len(poses) + 1, len(contents) + 2, cell=1.15)
    for ax, j in zip(axes[0, 2:], contents, strict=True):
        show_image(ax, shown[j], frame=INPUT)
    for row, i in zip(axes[1:], poses, strict=True):
        show_image(row[0], batch["image"][i], frame=INPUT)
        show_pose(row[1], batch["pose"][i], colour=MUTED)
        images = _draw(model, pose[[i] * len(contents)], content, other[list(contents)])["image"]
        for ax, image in zip(row[2:], images, strict=True):
            show_image(ax, image)
    return figure


@torch.inference_mode()
def walks(
    model: DVAE, batch: Mapping[str, Tensor], start: int, end: int, steps: int = 7, content: str = "tag"
) -> Figure:
    """Straight walks in one part of z while the other stays, laid out as the paper's Fig. 4.

    The pose goes from `start` to `end` before the content of either, its skeletons below; in the last row the content
    goes, and the pose stays in the middle of its walk. The inputs stand at the ends.
    """
    pose, other = _parts(model, batch, content)
    shown = batch["tag" if content == "tag" else "image"]
    t = torch.linspace(0, 1, steps)[:, None]
    moving, going = torch.lerp(pose[start], pose[end], t), torch.lerp(other[start], other[end], t)
    names = ["pose, first content", "pose, second content", "its skeleton", "content"]
    figure, axes = grid(4, steps + 2, names, cell=1.05)
    rows = [
        _draw(model, moving, content, other[[start] * steps]),
        _draw(model, moving, content, other[[end] * steps]),
        _draw(model, moving, content, other[[start] * steps]),
        _draw(model, moving[[steps // 2] * steps], content, going),
    ]
    for row, (line, means) in enumerate(zip(axes, rows, strict=True)):
        for ax, i in ((line[0], start), (line[-1], end)):
            if row == 2:
                show_pose(ax, batch["pose"][i], colour=INPUT)
            else:
                show_image(ax, (shown if row == 3 else batch["image"])[i], frame=INPUT)
        for column, ax in enumerate(line[1:-1]):
            if row == 2:
                show_pose(ax, means["pose"][column])
            else:
                show_image(ax, means["image"][column])
    return figure


@torch.inference_mode()
def random_samples(model: DVAE, draws: Mapping[str, Tensor], columns: int = 8) -> Figure:
    """Latents (N, d) by name, each a row or more of images decoded from them."""
    each = {name: -(-len(z) // columns) for name, z in draws.items()}
    names = [name if row == 0 else "" for name, rows in each.items() for row in range(rows)]
    figure, axes = grid(len(names), columns, names)
    row = 0
    for name, z in draws.items():
        for ax, image in zip(axes[row:].flat, model.decode(z, ["image"])["image"], strict=False):
            show_image(ax, image)
        row += each[name]
    return figure


_STYLES = (
    {"color": MUTED, "linestyle": "--"},
    {"color": TRUTH},
    {"color": OURS},
    {"color": "#009E73", "linestyle": "-."},
)


def _contour(p: MultivariateNormal, radius: float = 2.0) -> Tensor:
    """The ellipse (2, 200) at `radius` standard deviations of a Gaussian over the plane."""
    angle = torch.linspace(0, 2 * torch.pi, 200, dtype=p.mean.dtype)
    circle = torch.stack([angle.cos(), angle.sin()])
    return p.mean[:, None] + radius * p.scale_tril @ circle


def ellipses(panels: Mapping[str, Mapping[str, MultivariateNormal]], axis_names: tuple[str, str]) -> Figure:
    """Gaussians over a plane, drawn at two standard deviations: panel → name → Gaussian.

    A Gaussian of the same name has the same line in every panel.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    styles = dict(zip(names, _STYLES, strict=False))
    figure, axes = plt.subplots(1, len(panels), figsize=(8, 3.6), sharex=True, sharey=True, layout="constrained")
    for ax, (title, panel) in zip(axes, panels.items(), strict=True):
        for name, p in panel.items():
            ax.plot(*_contour(p), linewidth=2, label=name, **styles[name])
            ax.plot(*p.mean, "+", markersize=9, markeredgewidth=2, color=styles[name]["color"])
        ax.set_title(title, fontsize=11)
        ax.set(aspect="equal", xlabel=axis_names[0])
    axes[0].set_ylabel(axis_names[1])
    handles = {label: h for ax in axes for h, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=2)
    return figure
