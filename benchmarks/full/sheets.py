"""The chapters' figures of the trained runs, one file each."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib.experiments.counterfactuals import samples_at
from dvae_lib.experiments.run import Run
from dvae_lib.plots import estimation, synthesis

DPI = 200  # shows a crop of 256 pixels at nearly its size
PERCENTILES = (10, 30, 50, 70, 90)


def save(figure: Figure, path: Path) -> None:
    figure.savefig(path, dpi=DPI, bbox_inches="tight")
    plt.close(figure)


def _batch(run: Run) -> tuple[dict[str, Tensor], list[int], list[int]]:
    """Validation samples: four poses, then one sample of every content; and the positions of both in the batch."""
    dataset, held_out = run.subsets("validation")[0]
    content = np.asarray(dataset["content"])[held_out]
    poses = held_out[np.linspace(0, len(held_out) - 1, 6).astype(int)[1:-1]]
    contents = [held_out[content == c][len(held_out[content == c]) // 2] for c in np.unique(content)][:6]
    batch = next(samples_at(run, np.array([*poses, *contents])).in_order())
    batch["tag"] = batch["image"]  # the sample with the content is its own tag
    return batch, list(range(len(poses))), list(range(len(poses), len(poses) + len(contents)))


def transfer(run: Run) -> Figure:
    """The paper's Fig. 6."""
    batch, poses, contents = _batch(run)
    return synthesis.pose_transfer(run.load(), batch, poses, contents)


def walks(run: Run) -> Figure:
    """The paper's Fig. 4, of labelled content."""
    batch, poses, contents = _batch(run)
    return synthesis.walks(run.load(), batch, poses[0], contents[-1])


def content_walks(run: Run) -> Figure:
    """The paper's Fig. 5, of content without labels."""
    batch, poses, contents = _batch(run)
    return synthesis.content_walks(run.load(), batch, [(poses[0], contents[-1]), (poses[2], contents[1])])


def against_the_truth(inputs: Mapping[str, Tensor], targets: Tensor, drawn: Mapping[str, Tensor]) -> Figure:
    """Recombined images, the true ones, and those of a method without disentanglement; all (N, 3, S, S)."""
    chosen = np.linspace(0, len(targets) - 1, 8).astype(int)[1:].tolist()
    return synthesis.counterfactuals(inputs, targets, drawn, chosen)


@torch.inference_mode()
def poses(run: Run) -> Figure:
    """The paper's Fig. 8: validation samples from small to large errors."""
    (dataset, held_out), error, model = run.subsets("validation")[0], run.errors["image"]["pose"], run.load()
    order = error.argsort()[: int((~error.isnan()).sum())]
    chosen = [int(order[p * (len(order) - 1) // 100]) for p in PERCENTILES]
    batch = next(samples_at(run, held_out[chosen]).in_order())
    means = model.decode(model.encode("image", batch["image"]).mean)
    shown = batch | {f"{name} read": means[name] for name in ("cpose", "pose")} | {"error": error[chosen]}
    return estimation.quintets({dataset.name: shown}, [f"{p} %" for p in PERCENTILES])
