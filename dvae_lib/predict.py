"""The pose of the hand in one's own photograph: crop, encode, decode, draw (chapter 12)."""

from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib.datasets.crop import crop
from dvae_lib.files import UserError, read_image
from dvae_lib.hand import mirror
from dvae_lib.models import CrossModalVAE
from dvae_lib.plots.hands import draw_skeleton

# A photograph this far from square was hardly framed around a hand.
_MOST_OBLONG = 1.15


@dataclass(frozen=True)
class Box:
    """A square of a photograph, in its pixels, around a hand."""

    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Prediction:
    """What a model says of one photograph; all of the hand as it is there, left or right."""

    path: Path
    photograph: np.ndarray  # (H, W, 3) uint8
    box: Box
    pose: Tensor  # (21, 3) mm, relative to the palm
    keypoints: Tensor  # (21, 2) pixels of the photograph

    def as_dict(self) -> dict:
        return {
            "image": str(self.path),
            "crop": [self.box.left, self.box.top, self.box.side],
            "joint order": "OpenPose: palm, then thumb to little finger, each from base to tip",
            "pose, mm from the palm, x right, y down, z away": self.pose.tolist(),
            "keypoints, pixels": self.keypoints.tolist(),
        }


def _whole_image(path: Path, height: int, width: int) -> Box:
    if max(height, width) > _MOST_OBLONG * min(height, width):
        raise UserError(
            f"{path} is {width} × {height} pixels and no crop was given: the model looks at a square around one hand. "
            "Pass --crop LEFT TOP SIDE, in pixels, or an image cut to the hand."
        )
    side = min(height, width)
    return Box((width - side) / 2, (height - side) / 2, side)


def _check_box(box: Box, path: Path, height: int, width: int) -> Box:
    if box.side < 8 or box.left >= width or box.top >= height or box.left + box.side <= 0 or box.top + box.side <= 0:
        raise UserError(
            f"The crop {box.left:g} {box.top:g} {box.side:g} lies outside {path}, which is {width} × {height} pixels, "
            "or is smaller than 8 pixels. Give the left, the top and the side of a square around the hand."
        )
    return box


@torch.inference_mode()
def predict(
    model: CrossModalVAE,
    path: Path,
    size: int,
    box: Box | None = None,
    right: bool = False,
    bone: float = 40.0,
) -> Prediction:
    """Reads a photograph and the hand in it.

    size: pixels of the model's crop. right: whether it shows a right hand. bone: the length in mm of the proximal
    phalanx of its middle finger, which a single photograph cannot tell; 40 mm is an adult's.

    Raises UserError if the image cannot be read or no square around the hand is known.
    """
    photograph = read_image(path)
    height, width = photograph.shape[:2]
    box = _check_box(box, path, height, width) if box else _whole_image(path, height, width)
    centre = torch.tensor([[box.left + box.side / 2, box.top + box.side / 2]])
    pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None]
    image = crop(pixels, centre, torch.tensor([box.side]), size).float() / 127.5 - 1

    means = model.eval().decode(model.encode("image", image.flip(-1) if right else image).mean)
    pose, keypoints = means["pose"][0], means["keypoints"][0]
    if right:
        pose, keypoints = mirror(pose), keypoints * torch.tensor([-1.0, 1.0])
    corner = torch.tensor([box.left, box.top])
    return Prediction(Path(path), photograph, box, pose * bone, (keypoints + 1) / 2 * box.side + corner)


def draw(prediction: Prediction) -> Figure:
    """The photograph with the hand drawn over it, and the pose seen from the front and from the side."""
    figure, (photo, front, side) = plt.subplots(1, 3, figsize=(12, 4.4))
    photo.imshow(prediction.photograph)
    draw_skeleton(photo, prediction.keypoints, width=2.5)
    box = prediction.box
    photo.add_patch(plt.Rectangle((box.left, box.top), box.side, box.side, fill=False, color="white"))
    height, width = prediction.photograph.shape[:2]
    photo.set(title="image → 2D keypoints", xticks=[], yticks=[], xlim=(0, width), ylim=(height, 0))
    photo.spines[:].set_visible(False)
    pose = prediction.pose
    draw_skeleton(front, pose[:, :2], depth=pose[:, 2], width=3)
    draw_skeleton(side, pose[:, [2, 1]], depth=pose[:, 0], width=3)
    for ax, name in ((front, "x"), (side, "z (away)")):
        ax.set(xlim=(-120, 120), ylim=(120, -120), aspect="equal", xlabel=f"{name}, mm")
    front.set(title="3D pose, front", ylabel="y, mm")
    side.set(title="3D pose, side", yticklabels=[])
    return figure
