"""The figures of chapter 03."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.ndimage import uniform_filter1d
from sklearn.manifold import TSNE
from torch import Tensor

from dvae_lib.models import CrossModalVAE
from dvae_lib.plots.hands import INK, MUTED, OURS, TRUTH, draw_skeleton, grid, show_image, show_keypoints, show_pose

AVERAGED = 5  # logged values, of whichever run: with as many of each, both means are as steady as their runs


@torch.inference_mode()
def translations(model: CrossModalVAE, batch: Mapping[str, Tensor], samples: list[int]) -> Figure:
    """Each sample's image, the keypoints and pose decoded from it, and the image decoded from its pose, in a column.

    The image is the depth image if the model encodes no RGB image; keypoints are left out if it does not decode them.
    """
    source = "image" if "image" in model.encoders else "depth"
    means = model.decode(model.encode(source, batch[source]).mean)
    from_pose = model.translate("pose", batch["pose"], source)
    keypoints_row = [f"2D from {source}"] if "keypoints" in means else []
    figure, axes = grid(
        4 + len(keypoints_row),
        len(samples),
        [source, *keypoints_row, f"3D from {source}", "true 3D", f"{source} from 3D"],
        cell=1.15,
    )
    for column, i in zip(axes.T, samples, strict=True):
        show_image(column[0], batch[source][i], frame="#c00000")
        if keypoints_row:
            show_keypoints(column[1], means["keypoints"][i], batch[source][i])
        show_pose(column[-3], means["pose"][i])
        show_pose(column[-2], batch["pose"][i], colour=MUTED)
        show_image(column[-1], from_pose[i])
    return figure


@torch.inference_mode()
def decoded(model: CrossModalVAE, z: Tensor) -> Figure:
    """Latents (N, d) decoded into every modality: a row for each modality, a column for each latent."""
    names = {"image": "image", "depth": "depth", "keypoints": "2D", "pose": "3D"}
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


def training_curves(runs: Mapping[str, Mapping[str, np.ndarray]], term: str) -> Figure:
    """A logged term of several runs, such as "image→pose": the values (faint) and a running mean over `AVERAGED`."""
    figure, ax = plt.subplots(figsize=(7.5, 3.4))
    late = []
    for (name, metrics), colour in zip(runs.items(), (OURS, TRUTH), strict=False):
        logged = np.isfinite(metrics[term])
        steps, values = metrics["step"][logged], metrics[term][logged]
        smooth = uniform_filter1d(values, AVERAGED, mode="nearest")
        ax.plot(steps, values, color=colour, alpha=0.3, linewidth=0.8)
        ax.plot(steps, smooth, color=colour, linewidth=2, label=name)
        late.append(values[len(values) // 20 :])  # the first steps would dwarf all others
    low, high = np.min(np.concatenate(late)), np.max(np.concatenate(late))
    margin = 0.05 * (high - low)
    source, target = term.split("→")
    label = f"log-likelihood of {target}\nfrom {source}, nats"
    ax.set(xlabel="step", ylabel=label, ylim=(low - margin, high + margin))
    ax.legend()
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
        # The pose of the latent farthest out in this direction, drawn on a ring with a line to its point.
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
