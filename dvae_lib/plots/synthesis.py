"""The figures of chapters 04 and 05: recombined images, walks in the latent, and what parts of it contain."""

from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.distributions import MultivariateNormal

from dvae_lib.models import DVAE
from dvae_lib.plots.hands import INK, INPUT, MUTED, OURS, TRUTH, grid, sentence, show_image, show_pose

Batch = Mapping[str, Tensor]


def _means(model: DVAE, batch: Batch) -> tuple[dict[str, Tensor], str, Tensor]:
    """The mean of each part for every sample, the name of the content's part, and the images that show the content."""
    means = {name: q.mean for name, q in model.encode_factors(batch).items()}
    content = next(name for name in means if name != "pose")
    return means, content, batch["tag" if content == "tag" else "image"]


@torch.inference_mode()
def pose_transfer(
    model: DVAE, batch: Batch, poses: Sequence[int], contents: Sequence[int], content_batch: Batch | None = None
) -> Figure:
    """Pose of one image, content of another, laid out as in the paper's Fig. 6.

    A row for each of `poses`: the image, its true pose, and the decoded image with each content. The images that give
    the contents are on top. content_batch: the batch of `contents`; by default that of `poses`.
    """
    pose = model.encode_factors(batch)["pose"].mean
    means, content, shown = _means(model, content_batch or batch)
    figure, axes = grid(len(poses) + 1, len(contents) + 2, cell=1.15)
    for ax, j in zip(axes[0, 2:], contents, strict=True):
        show_image(ax, shown[j], frame=INPUT)
    for row, i in zip(axes[1:], poses, strict=True):
        show_image(row[0], batch["image"][i], frame=INPUT)
        show_pose(row[1], batch["pose"][i], colour=MUTED)
        z = model.join({"pose": pose[[i] * len(contents)], content: means[content][list(contents)]})
        for ax, image in zip(row[2:], model.decode(z, ["image"])["image"], strict=True):
            show_image(ax, image)
    return figure


def _show_walk(axes: np.ndarray, ends: Sequence[Tensor], means: Tensor, show: Callable[..., None]) -> None:
    """A row with the decoded means of a walk between the two inputs."""
    show(axes[0], ends[0], INPUT)
    show(axes[-1], ends[1], INPUT)
    for ax, mean in zip(axes[1:-1], means, strict=True):
        show(ax, mean, None)


@torch.inference_mode()
def walks(model: DVAE, batch: Batch, start: int, end: int, steps: int = 7) -> Figure:
    """Straight walks in one part of z with the other fixed, laid out as in the paper's Fig. 4.

    In the first two rows the pose changes from `start` to `end`, with the content of one or of the other; the third
    row shows the skeletons of the first. In the last row the content changes, and the pose is the mean of both. The
    inputs are at the ends.
    """
    means, content, shown = _means(model, batch)
    pose, other = means["pose"][[start, end]], means[content][[start, end]]
    rows = {
        "pose, first content": model.walk(*_ends(model, pose, other[[0, 0]], content), steps, ["pose"]),
        "pose, second content": model.walk(*_ends(model, pose, other[[1, 1]], content), steps, ["pose"]),
        "content": model.walk(*_ends(model, pose.mean(0).expand(2, -1), other, content), steps, [content]),
    }
    drawn = {name: model.decode(z[:, 0]) for name, z in rows.items()}
    figure, axes = grid(4, steps + 2, [*rows][:2] + ["its skeleton", "content"], cell=1.05)
    images, ends = batch["image"], [start, end]
    for line, name, inputs in zip(axes[[0, 1, 3]], rows, (images, images, shown), strict=True):
        _show_walk(line, inputs[ends], drawn[name]["image"], show_image)
    _show_walk(axes[2], batch["pose"][ends], drawn["pose, first content"]["pose"], show_pose)
    return figure


def _ends(model: DVAE, pose: Tensor, other: Tensor, content: str) -> Tensor:
    """Latents (2, 1, d) of two poses (2, …) and two contents."""
    return model.join({"pose": pose, content: other})[:, None]


@torch.inference_mode()
def content_walks(model: DVAE, batch: Batch, pairs: Sequence[tuple[int, int]], steps: int = 7) -> Figure:
    """Walks in the content from one sample to another with the pose of the first, laid out as in the paper's Fig. 5.

    Two rows for each pair: images, and the poses decoded with them, between the inputs and their true poses.
    """
    means, content, shown = _means(model, batch)
    figure, axes = grid(2 * len(pairs), steps + 2, ["image", "pose"] * len(pairs), cell=1.05)
    for (start, end), first, second in zip(pairs, axes[::2], axes[1::2], strict=True):
        ends = [start, end]
        z = model.walk(*_ends(model, means["pose"][ends], means[content][ends], content), steps, [content])
        drawn = model.decode(z[:, 0], ["image", "pose"])
        _show_walk(first, shown[ends], drawn["image"], show_image)
        _show_walk(second, batch["pose"][ends], drawn["pose"], show_pose)
    return figure


def recorded_walks(walks: Mapping[str, Tensor]) -> Figure:
    """Stored walks, as uint8: for each method (W, steps, 3, S, S), all for the same W pairs.

    For each pair, the rows of the methods follow one another.
    """
    if not walks:
        return sentence("No seed of the study has recorded these walks yet.")
    pairs = range(min(map(len, walks.values())))
    rows = [(name, walk[pair]) for pair in pairs for name, walk in walks.items()]
    figure, axes = grid(len(rows), len(rows[0][1]), [name for name, _ in rows], cell=1.05)
    for line, (_, walk) in zip(axes, rows, strict=True):
        for ax, image in zip(line, walk, strict=True):
            show_image(ax, image.float() / 127.5 - 1)
    return figure


@torch.inference_mode()
def random_samples(model: DVAE, draws: Mapping[str, Tensor], columns: int = 8) -> Figure:
    """Images decoded from latents (N, d), in one or more named rows for each entry."""
    rows = {name: -(-len(z) // columns) for name, z in draws.items()}
    names = [name if row == 0 else "" for name, count in rows.items() for row in range(count)]
    figure, axes = grid(len(names), columns, names)
    row = 0
    for name, z in draws.items():
        for ax, image in zip(axes[row:].flat, model.decode(z, ["image"])["image"], strict=False):
            show_image(ax, image)
        row += rows[name]
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
    """Gaussians over a plane, shown as ellipses at two standard deviations: panel → name → Gaussian.

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


def rotation(degrees: Tensor, bound: Tensor, evidence: float, information: Tensor) -> Figure:
    """Left: the bound (n,) as the parts of z are mixed, and the evidence. Right: z_u's information on the pose (n,)."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.0), layout="constrained")
    left.axhline(evidence, color=INK, linestyle="--", label="evidence")
    left.plot(degrees, bound, color=OURS, linewidth=2, label="bound, at the best encoders")
    left.set(ylabel="nats")
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    right.plot(degrees, information, color=TRUTH, linewidth=2)
    right.set(ylabel=r"$I(z_u; y_1)$, nats", ylim=(0, None))
    for ax in (left, right):
        ax.set(xlabel="rotation of the gesture into $z_u$, degrees")
        ax.set_xticks([0, 30, 60, 90])
    return figure


def leakage(curves: Mapping[str, Tensor]) -> Figure:
    """The information of z_u on the pose during training, a panel for each algorithm: name → (steps, starts)."""
    figure, axes = plt.subplots(1, len(curves), figsize=(8, 2.9), sharex=True, sharey=True, layout="constrained")
    for ax, (name, curve) in zip(axes, curves.items(), strict=True):
        ax.plot(curve, color=TRUTH, linewidth=1, alpha=0.5)
        ax.set_title(name, fontsize=11)
        ax.set(xlabel="step", ylim=(-0.03, None))
    axes[0].set_ylabel(r"$I(z_u; y_1)$, nats")
    return figure


@torch.inference_mode()
def counterfactuals(
    inputs: Mapping[str, Tensor], targets: Tensor, decoded: Mapping[str, Tensor], samples: Sequence[int]
) -> Figure:
    """A column for each sample: the inputs (framed), the true image, and that of each method; all (N, 3, S, S)."""
    rows = {**inputs, "truth": targets, **decoded}
    figure, axes = grid(len(rows), len(samples), list(rows), cell=1.15)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, i in zip(line, samples, strict=True):
            show_image(ax, images[i], frame=INPUT if name in inputs else None)
    return figure


def only_rendered() -> Figure:
    """Replaces a figure with true counterfactual images, for data that have none."""
    return sentence("The true image is known for rendered hands only: set DVAE_DATA=synthetic for this figure.")
