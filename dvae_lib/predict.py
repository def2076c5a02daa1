"""The pose of the hand in a user's photographs: crop, encode, decode (chapters 06, 12)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dvae_lib.datasets.crop import crop
from dvae_lib.experiments.evaluation import decoder_disagreement
from dvae_lib.files import UserError, read_image
from dvae_lib.hand import MIDDLE_MCP, Root, mirror
from dvae_lib.hand.canonical import project_to_rotation
from dvae_lib.models import DVAE, CrossModalVAE

_MAX_ASPECT = 1.15  # a photograph less square than this was hardly framed around a hand
_DRAWS = 64  # of the latent, for the spread
_SUSPICIOUS = (
    0.95  # quantile of the disagreement from which on a prediction has a warning: 1 in 20 held-out images has one
)


@dataclass(frozen=True)
class Box:
    """A square of a photograph, in its pixels, around a hand."""

    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Prediction:
    """What a model predicts from one photograph, for the hand as it is there, left or right."""

    path: Path
    photograph: np.ndarray  # (H, W, 3) uint8
    box: Box
    pose: Tensor  # (21, 3) mm, relative to the root joint
    spread: Tensor  # (21,) mm, root mean square distance of each joint from its mean, for z drawn from q(z | x)
    keypoints: Tensor  # (21, 2) pixels of the photograph
    cpose: Tensor | None = None  # (21, 3) mm, as a left hand's
    viewpoint: Tensor | None = None  # (3, 3), the rotation from the CPose to the pose: see `canonical.compose`
    disagreement_mm: float | None = None  # mean distance of the joints of their product from those of the pose
    disagreement_quantile: float | None = None  # share of the held-out images with a smaller disagreement
    root_joint: Root = "palm"  # what joint 0 is

    @property
    def warning(self) -> str | None:
        """A sentence, if the two decoded poses disagree more than in nearly all held-out images; None otherwise."""
        if self.disagreement_quantile is None or self.disagreement_quantile < _SUSPICIOUS:
            return None
        return (
            f"{self.path}: the two decoded poses are {self.disagreement_mm:.0f} mm apart, more than in "
            f"{100 * self.disagreement_quantile:.0f} % of the held-out images. The crop may show no hand, a badly "
            "framed one, or one unlike those of the training data."
        )

    def as_dict(self) -> dict:
        factors = {}
        if self.cpose is not None and self.viewpoint is not None:
            factors = {
                "canonical pose, mm": self.cpose.tolist(),
                "viewpoint": self.viewpoint.tolist(),
                "distance of their product from the pose, mm": self.disagreement_mm,
                "share of held-out images with a smaller distance": self.disagreement_quantile,
            }
        return {
            "image": str(self.path),
            "crop": [self.box.left, self.box.top, self.box.side],
            "joint order": f"OpenPose: {self.root_joint}, then thumb to little finger, each from base to tip",
            f"pose, mm from the {self.root_joint}, x right, y down, z away": self.pose.tolist(),
            "spread of each joint, mm": self.spread.tolist(),
            **factors,
            "keypoints, pixels": self.keypoints.tolist(),
        }


def _whole_image(path: Path, height: int, width: int) -> Box:
    if max(height, width) > _MAX_ASPECT * min(height, width):
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


def _keypoints(pose: Tensor, box: Box) -> Tensor:
    """The pixels (21, 2) of a pose (21, 3), without perspective, if the box is the evaluation protocol's crop of it:
    centred on the middle MCP, and as wide as the hand reaches from there to either side.
    """
    flat = (pose - pose[MIDDLE_MCP])[:, :2]
    centre = torch.tensor([box.left, box.top]) + box.side / 2
    return centre + flat * box.side / 2 / flat.abs().max()


@torch.inference_mode()
def predict(
    model: CrossModalVAE | DVAE,
    paths: Sequence[Path],
    size: int,
    box: Box | None = None,
    right: bool = False,
    bone: float = 40.0,
    reference: Tensor | None = None,
    root_joint: Root = "palm",
) -> list[Prediction]:
    """Predicts the pose of the hand in each of several photographs, all in one batch.

    model: encodes or embeds images, and decodes the 3D pose. If it decodes no keypoints, they are those of the pose,
        placed in the crop.
    size: pixels of the model's crop. box: the same in every photograph. right: whether they show right hands.
    bone: the length in mm of the proximal phalanx of the middle finger, which a photograph does not tell; an adult's
        is about 40.
    reference: (N,) the `evaluation.decoder_disagreement` of held-out images (`Run.errors`). Training has decoded no
        latent of an image without a hand, and the decoders disagree there (chapter 12).
    root_joint: the joint that the model's poses are relative to.

    Raises UserError if an image cannot be read or no square around the hand is known.
    """
    photographs = [read_image(path) for path in paths]
    boxes = [_box(box, path, *photograph.shape[:2]) for path, photograph in zip(paths, photographs, strict=True)]
    image = torch.cat([_crop(photograph, box, size) for photograph, box in zip(photographs, boxes, strict=True)])
    model.eval()
    q = model.encode("image", image.flip(-1) if right else image)
    means = model.decode(q.mean)
    disagreement = decoder_disagreement(means) if {"pose", "cpose"} <= means.keys() else None
    draws = torch.stack([model.decode(z, ["pose"])["pose"] for z in q.sample((_DRAWS,))])
    spread = bone * (draws - draws.mean(0)).square().sum(-1).mean(0).sqrt()

    predictions = []
    for i, (path, photograph, box) in enumerate(zip(paths, photographs, boxes, strict=True)):
        pose = mirror(means["pose"][i], right)
        prediction = Prediction(
            Path(path), photograph, box, bone * pose, spread[i], _keypoints(pose, box), root_joint=root_joint
        )
        if "keypoints" in means:
            keypoints = means["keypoints"][i] * torch.tensor([-1.0 if right else 1.0, 1.0])
            pixels = (keypoints + 1) / 2 * box.side + torch.tensor([box.left, box.top])
            prediction = replace(prediction, keypoints=pixels)
        if "cpose" in means:
            viewpoint = project_to_rotation(means["viewpoint"][i])
            if right:  # of the hand before the mirror, as `canonical.canonicalise` has it
                viewpoint = torch.diag(torch.tensor([1.0, 1.0, -1.0])) @ mirror(viewpoint)
            prediction = replace(prediction, cpose=bone * means["cpose"][i], viewpoint=viewpoint)
        if disagreement is not None:
            quantile = None if reference is None else (reference < disagreement[i]).float().mean().item()
            prediction = replace(
                prediction, disagreement_mm=bone * disagreement[i].item(), disagreement_quantile=quantile
            )
        predictions.append(prediction)
    return predictions


def _box(box: Box | None, path: Path, height: int, width: int) -> Box:
    return _check_box(box, path, height, width) if box else _whole_image(path, height, width)


def _crop(photograph: np.ndarray, box: Box, size: int) -> Tensor:
    """The model's input (1, 3, size, size) in [−1, 1]: the box, cut out of a photograph (H, W, 3) uint8."""
    pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None]
    centre = torch.tensor([[box.left + box.side / 2, box.top + box.side / 2]])
    return crop(pixels, centre, torch.tensor([float(box.side)]), size).float() / 127.5 - 1
