"""The figures of chapter 12."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib import predict, settings
from dvae_lib.datasets import open_dataset, open_source, realhand
from dvae_lib.datasets.batches import Batches
from dvae_lib.files import UserError
from dvae_lib.metrics import joint_errors
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.plots import cross_modal, synthesis
from dvae_lib.plots.hands import (
    INPUT,
    MUTED,
    OURS,
    TRUTH,
    draw_skeleton,
    grid,
    missing,
    of_photographs,
    show_image,
    show_keypoints,
    show_pose,
)
from dvae_lib.plots.samples import contact_sheet


@of_photographs
def labelled(rows: int = 2, columns: int = 5, size: int = 128) -> Figure:
    """Photographs spread over the video, cropped, with their true keypoints."""
    dataset = open_dataset("realhand", size)
    chosen = np.linspace(0, len(dataset) - 1, rows * columns).astype(int)
    batch = next(Batches([(dataset, chosen)], len(chosen)).in_order())
    figure, axes = grid(rows, columns, cell=1.7)
    for ax, image, keypoints in zip(axes.flat, batch["image"], batch["keypoints"], strict=True):
        show_keypoints(ax, keypoints, image)
    return figure


@of_photographs
def translations(model: CrossModalVAE, batch: Mapping[str, Tensor], columns: int = 8) -> Figure:
    """`cross_modal.translations` of photographs spread over the held-out blocks."""
    return cross_modal.translations(model, batch, np.linspace(0, len(batch["pose"]) - 1, columns).astype(int).tolist())


def samples(name: str, count: int = 8, size: int = 128) -> Figure:
    """Samples spread over STB or RHD (“stb”, “rhd”), with their joints; if the data set is missing, how to get it.

    The samples are read directly, without preparing the whole data set.
    """
    if not settings.is_here(name):
        return missing(name)
    options = {"stb": {"frames_per_sequence": 1, "views": ("BB_left",)}, "rhd": {"count": count}}
    try:
        source = open_source(name, **options[name])
        return contact_sheet(source.read(np.linspace(0, len(source) - 1, count).astype(int), size))
    except UserError:
        return missing(name, "complete")


@of_photographs
@torch.inference_mode()
def extremes(model: CrossModalVAE, batch: Mapping[str, Tensor], count: int = 4) -> Figure:
    """The photographs with the smallest and the largest pose errors: predicted over true (grey) keypoints."""
    errors = joint_errors(model.translate("image", batch["image"], "pose"), batch).nanmean(1)
    order = errors.argsort()
    chosen = torch.cat([order[:count], order[-count:]])
    keypoints = model.translate("image", batch["image"], "keypoints")
    figure, axes = grid(2, count, ["best", "worst"], cell=1.7)
    for ax, i in zip(axes.flat, chosen.tolist(), strict=True):
        show_keypoints(ax, batch["keypoints"][i], batch["image"][i], colour="#d9d9d9")
        draw_skeleton(ax, keypoints[i])
        ax.text(-0.95, 0.93, f"{errors[i]:.0f} mm", color="white", bbox={"color": "black", "alpha": 0.6, "pad": 1.5})
    return figure


@of_photographs
def transfer(model: DVAE, poses: Mapping[str, Tensor], contents: Mapping[str, Tensor]) -> Figure:
    """`synthesis.pose_transfer` of samples spread over two batches: the poses of one, the contents of the other."""
    rows, columns = (np.linspace(0, len(b["pose"]) - 1, 7).astype(int)[1:-1].tolist() for b in (poses, contents))
    return synthesis.pose_transfer(model, poses, rows, columns, contents)


@of_photographs
def failures(worst: Mapping[str, tuple[Mapping[str, Tensor], Mapping[str, Tensor], Tensor, Tensor]]) -> Figure:
    """A column for each selected sample: the image with the pose, the pose, the image with the content, and the result.

    worst: for each direction the batch of the poses, that of the contents, the decoded images, and the chosen indices.
    """
    columns = [(*batches, i) for *batches, chosen in worst.values() for i in chosen.tolist()]
    figure, axes = grid(4, len(columns), ["pose of", "its pose", "content of", "generated"])
    for column, (poses, contents, drawn, i) in zip(axes.T, columns, strict=True):
        show_image(column[0], poses["image"][i], frame=INPUT)
        show_pose(column[1], poses["pose"][i], colour=MUTED)
        show_image(column[2], contents["image"][i], frame=INPUT)
        show_image(column[3], drawn[i])
    return figure


@of_photographs
def disagreement(hands: Tensor, no_hands: Tensor, examples: Sequence[predict.Prediction]) -> Figure:
    """Histograms of the `disagreement_mm` of images with a hand (N,) and without (M,), and examples of the latter."""
    figure, axes = plt.subplots(1, 1 + len(examples), figsize=(7.5, 2.6), width_ratios=[4, *[1.2] * len(examples)])
    ax, *pictures = np.atleast_1d(axes)
    values = torch.cat([hands, no_hands])
    bins = np.geomspace(values.min(), values.max(), 30)
    for group, colour, name in ((hands, OURS, "hands"), (no_hands, TRUTH, "no hand")):
        ax.hist(group, bins, weights=np.full(len(group), 1 / len(group)), color=colour, alpha=0.75, label=name)
    ax.set(xscale="log", xlabel="distance between the two poses (mm)", ylabel="share")
    ticks = [mm for mm in (1, 2, 5, 10, 20, 50, 100) if values.min() <= mm <= values.max()]
    ax.set_xticks(ticks, [str(mm) for mm in ticks])
    ax.minorticks_off()
    ax.legend(fontsize=9, loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
    for picture, example in zip(pictures, examples, strict=True):
        box, (width, height) = example.sight.box, example.sight.size
        picture.imshow(example.sight.photograph, extent=(0, width, height, 0))
        picture.set(xlim=(box.left, min(width, box.left + box.side)), ylim=(min(height, box.top + box.side), box.top))
        picture.set(xticks=[], yticks=[])
        picture.set_title(f"{example.disagreement_mm:.0f} mm", fontsize=9)
    return figure


def draw_predictions(predictions: Sequence[predict.Prediction]) -> Figure:
    """A row for each hand of a photograph: the skeleton over the photograph, and the pose from the front and side."""
    rows = len(predictions)
    figure, axes = plt.subplots(rows, 3, figsize=(12, 4.4 * rows), layout="constrained", squeeze=False)
    for (photo, front, side), prediction in zip(axes, predictions, strict=True):
        sight = prediction.sight
        width, height = sight.size
        photo.imshow(sight.photograph, extent=(0, width, height, 0))
        draw_skeleton(photo, prediction.keypoints, width=2.5)
        box = sight.box
        photo.add_patch(plt.Rectangle((box.left, box.top), box.side, box.side, fill=False, color="white"))
        spread = prediction.spread.square().mean().sqrt()
        title = f"{'right' if sight.right else 'left'} hand, ± {spread:.1f} mm by q(z | x)"
        photo.set(title=title, xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
        photo.spines[:].set_visible(False)
        pose = prediction.pose
        draw_skeleton(front, pose[:, :2], depth=pose[:, 2], width=3)
        draw_skeleton(side, pose[:, [2, 1]], depth=pose[:, 0], width=3)
        reach = max(120.0, 1.05 * pose.abs().max().item())
        for ax, name in ((front, "x"), (side, "z (away)")):
            ax.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal", xlabel=f"{name}, mm")
        front.set(title="3D pose, front", ylabel="y, mm")
        side.set(title="3D pose, side", yticklabels=[])
    return figure


@of_photographs
def prediction(model: CrossModalVAE | DVAE, sample: int = 0) -> Figure:
    """The drawing of `dvae predict` for a held-out photograph."""
    source = realhand.RealHandSource()
    photograph = source.photograph(int(realhand.split(source)["validation"][sample]))
    return draw_predictions(predict.predict(model, predict.look(photograph, model.modalities["image"].shape[-1])))
