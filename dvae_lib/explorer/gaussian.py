"""The Gaussian of a pose, interactively: the reader drags a hand and sees q(z | y), its samples, and their decodings.

The page contains a whole plain VAE of poses, with weights rounded to 16 bits (gaussian.js).
"""

import io

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from dvae_lib.experiments.run import Run
from dvae_lib.explorer import directions
from dvae_lib.explorer.page import Page, Weights, palm
from dvae_lib.hand import BONES, Root
from dvae_lib.models import CrossModalVAE
from dvae_lib.plots.hands import BONE_COLOURS, grid, show_pose

SHOWN = 300  # codes on the map


@torch.no_grad()
def export(model: CrossModalVAE, poses: Tensor, root_joint: Root = "palm") -> dict:
    """The data for gaussian.js.

    poses: held-out poses (N, 21, 3), for the map and to start from. root_joint: the joint that they are relative to.
    """
    model, weights = model.double().eval(), Weights()
    encoder, decoder = model.encoders["pose"], model.decoders["pose"]
    _, first, _, second = encoder.layers
    head, (up, out) = encoder.head.linear, (decoder[0], decoder[2])
    codes = encoder(poses.double()).mean.float()
    found = directions(codes)
    plane = found.basis[:2] / found.basis[:2].norm(dim=1, keepdim=True)
    off = codes - found.mean
    places = off @ plane.T
    chosen = torch.cdist(found.mean + found.samples @ found.basis, codes).argmin(1)
    shown = np.linspace(0, len(codes) - 1, min(SHOWN, len(codes))).astype(int)
    return {
        "encoder": [
            weights.layer(first.weight, first.bias),
            # The second layer and the head for mean and σ, merged: there is no activation between them.
            weights.layer(head.weight @ second.weight, head.bias + head.weight @ second.bias),
        ],
        "decoder": [weights.layer(up.weight, up.bias), weights.layer(out.weight, out.bias)],
        "plane": plane.tolist(),
        "mean": found.mean.tolist(),
        "kept": (places.square().sum() / off.square().sum()).item(),
        "codes": places[shown].round(decimals=3).tolist(),
        "samples": poses[chosen].flatten(1).round(decimals=4).tolist(),
        "palm": palm(poses, root_joint),
        "bones": BONES,
        "colours": BONE_COLOURS,
        "weights": str(weights),
    }


def explore_gaussian(run: Run) -> Page:
    """The explorer of a trained VAE of poses only."""
    poses = torch.cat([batch["pose"] for batch in run.batches("validation").in_order()])
    data = export(run.load(), poses, run.experiment.root_joint)
    figure, axes = grid(1, len(data["samples"]))
    for ax, pose in zip(axes.flat, data["samples"], strict=True):
        show_pose(ax, torch.tensor(pose).view(21, 3))
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=80)
    plt.close(figure)
    return Page("gaussian.js", data, file.getvalue(), "Six held-out hand poses; each is encoded to a Gaussian.")
