"""The figures of chapter 03."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.manifold import TSNE
from torch import Tensor

from dvae_lib.experiments.records import Record
from dvae_lib.models import CrossModalVAE
from dvae_lib.plots.hands import (
    INK,
    MUTED,
    OURS,
    TRUTH,
    draw_skeleton,
    grid,
    sentence,
    show_image,
    show_keypoints,
    show_pose,
)


@torch.inference_mode()
def translations(model: CrossModalVAE, batch: Mapping[str, Tensor], samples: list[int]) -> Figure:
    """A column for each sample: its image, the keypoints and pose decoded from it, and the image of its pose."""
    means = model.decode(model.encode("image", batch["image"]).mean)
    from_pose = model.translate("pose", batch["pose"], "image")
    names = ["image", "2D from image", "3D from image", "true 3D", "image from 3D"]
    figure, axes = grid(len(names), len(samples), names, cell=1.15)
    for column, i in zip(axes.T, samples, strict=True):
        show_image(column[0], batch["image"][i], frame="#c00000")
        show_keypoints(column[1], means["keypoints"][i], batch["image"][i])
        show_pose(column[2], means["pose"][i])
        show_pose(column[3], batch["pose"][i], colour=MUTED)
        show_image(column[4], from_pose[i])
    return figure


@torch.inference_mode()
def decoded(model: CrossModalVAE, z: Tensor) -> Figure:
    """Latents (N, d) decoded into every modality: a row for each modality, a column for each latent."""
    names = {"image": "image", "keypoints": "2D", "pose": "3D"}
    means = model.eval().decode(z)
    rows = [name for name in names if name in means]
    figure, axes = grid(len(rows), len(z), [names[name] for name in rows])
    for row, name in enumerate(rows):
        for column, mean in enumerate(means[name]):
            ax = axes[row, column]
            if name == "keypoints":
                show_keypoints(ax, mean)
            elif name == "pose":
                show_pose(ax, mean)
            else:
                show_image(ax, mean)
    return figure


def interpolate(start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Latents (steps, d) on the line from one latent (d,) to another."""
    return torch.lerp(start, end, torch.linspace(0, 1, steps)[:, None])


def watched(
    arms: Mapping[str, Sequence[Record]], every: int, slower: Mapping[str, int], source: str = "image"
) -> Figure:
    """The curves of monitored training runs: the held-out bound from a source, and how far its latents have moved since
    the previous evaluation. Means over seeds, with a band of one standard deviation.

    every: steps between two evaluations. slower: for some arms, the number by which their steps are divided.
    """
    if not any(arms.values()):
        return sentence("No seed of the monitored training runs is finished yet.")
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    late: dict[Axes, list[Tensor]] = {left: [], right: []}
    for (name, records), colour in zip(arms.items(), (OURS, TRUTH, "#009E73"), strict=False):
        for ax, what, first in ((left, "held-out bound", 0), (right, "moved", 1)) if records else ():
            seen = [record.arrays[f"curve/{source} {what}"] for record in records]
            looks = min(map(len, seen))  # a resumed run lacks one value of the movement
            values = torch.stack([curve[:looks] for curve in seen]).double()
            steps = (first + torch.arange(looks)) * (every / slower.get(name, 1))
            mean, spread = values.mean(0), values.std(0, correction=min(1, len(values) - 1))
            label = f"{name} (step / {slower[name]})" if name in slower else name
            ax.plot(steps, mean, color=colour, linewidth=1.5, label=label)
            ax.fill_between(steps, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
            late[ax].append(mean[looks // 20 :])  # the first values would dwarf all others
    for ax, what in ((left, f"held-out bound from {source}"), (right, "movement since the last evaluation")):
        low, high = torch.cat(late[ax]).min().item(), torch.cat(late[ax]).max().item()
        margin = 0.1 * (high - low) or 0.1
        ax.set(xlabel="step", ylabel=what, ylim=(low - margin if ax is left else 0, high + margin))
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=len(arms))
    return figure


@torch.inference_mode()
def shared_latent(
    model: CrossModalVAE, batch: Mapping[str, Tensor], samples: int = 500, poses: int = 12, seed: int = 0
) -> Figure:
    """t-SNE of the posterior means of images and of poses in one latent, with decoded poses around it."""
    count = min(samples, len(batch["pose"]))
    latents = {name: model.encode(name, batch[name][:count]).mean for name in ("image", "pose")}
    z = torch.cat(list(latents.values()))
    perplexity = min(30, len(z) / 4)
    flat = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(z.numpy())
    flat = (flat - flat.mean(0)) / np.abs(flat - flat.mean(0)).max()

    figure, ax = plt.subplots(figsize=(7.5, 7.5))
    for (name, _), points, colour, marker in zip(
        latents.items(), np.split(flat, 2), (OURS, "#009E73"), ("o", "^"), strict=True
    ):
        label = {"image": "from RGB image", "pose": "from 3D pose"}[name]
        ax.scatter(*points.T, s=16, color=colour, marker=marker, alpha=0.7, linewidths=0, label=label)

    decoded_poses = model.decode(z, ["pose"])["pose"]
    for angle in np.linspace(0, 2 * np.pi, poses, endpoint=False):
        # The pose of the latent farthest out in this direction is drawn on a ring, with a line to its point.
        chosen = int(np.argmax(flat @ [np.cos(angle), np.sin(angle)]))
        x, y = 1.32 * np.cos(angle), 1.32 * np.sin(angle)
        ax.plot([flat[chosen, 0], x], [flat[chosen, 1], y], color=MUTED, linewidth=0.8, zorder=0)
        points = decoded_poses[chosen, :, :2].numpy() * [0.062, -0.062]
        draw_skeleton(ax, points + [x, y], depth=decoded_poses[chosen, :, 2], width=1.6)
    ax.set(xlim=(-1.6, 1.6), ylim=(-1.6, 1.6), xticks=[], yticks=[], aspect="equal")
    for spine in ax.spines.values():
        spine.set_visible(False)
    ax.legend(loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.04), labelcolor=INK)
    return figure
