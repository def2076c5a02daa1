"""Predicts the pose of the hands in a user's photographs: detect, crop, encode, decode (chapters 06, 12)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from dvae_lib.datasets.crop import crop
from dvae_lib.detect import Detector, Hand
from dvae_lib.experiments.evaluation import decoder_disagreement
from dvae_lib.files import UserError, read_image
from dvae_lib.hand import MIDDLE_MCP, Root, mirror
from dvae_lib.hand.canonical import project_to_rotation
from dvae_lib.models import DVAE, CrossModalVAE

Via = Literal["image", "keypoints"]
BONES = (10.0, 100.0)  # the allowed lengths in mm of the proximal phalanx of a middle finger

_MAX_ASPECT = 1.15  # a photograph with a larger aspect ratio is probably not framed around a hand
_DRAWS = 64  # samples of the latent, for the spread
_SHOWN = 1200  # pixels of the longer side of the stored photograph, for the drawing
_SHRINK = 8  # a box larger than this multiple of the crop is downscaled before it is cropped
# Quantile of the disagreement from which a prediction has a warning: 1 in 20 held-out images has one.
_SUSPICIOUS = 0.95


@dataclass(frozen=True)
class Box:
    """A square of a photograph, in its pixels, around a hand."""

    left: float
    top: float
    side: float


@dataclass(frozen=True)
class Sight:
    """A hand in a photograph, as the input of a model.

    photograph: (h, w, 3) uint8, downscaled if it is large. size: its original width and height in pixels.
    image: (3, S, S), the box in [−1, 1]. hand: the detected hand in the box, if the detector was used.
    """

    path: Path
    photograph: np.ndarray
    size: tuple[int, int]
    box: Box
    right: bool
    image: Tensor
    hand: Hand | None = None


@dataclass(frozen=True)
class Prediction:
    """A model's prediction for one hand, left or right as in the photograph."""

    sight: Sight
    via: Via
    pose: Tensor  # (21, 3) mm, relative to the root joint
    spread: Tensor  # (21,) mm, root mean square distance of each joint from its mean, for z sampled from q(z | x)
    keypoints: Tensor  # (21, 2) pixels of the photograph
    cpose: Tensor | None = None  # (21, 3) mm, as a left hand
    viewpoint: Tensor | None = None  # (3, 3), the rotation from the CPose to the pose: see `canonical.compose`
    disagreement_mm: float | None = None  # mean distance between the joints of their product and of the pose
    disagreement_quantile: float | None = None  # share of the held-out images with a smaller disagreement
    root_joint: Root = "palm"  # what joint 0 is

    @property
    def warning(self) -> str | None:
        """A message if the two decoded poses disagree more than in nearly all held-out images; None otherwise."""
        if self.disagreement_quantile is None or self.disagreement_quantile < _SUSPICIOUS:
            return None
        return (
            f"{self.sight.path}: the two decoded poses are {self.disagreement_mm:.0f} mm apart, more than in "
            f"{100 * self.disagreement_quantile:.0f} % of the held-out images. The crop may show no hand, a badly "
            "framed one, or one unlike those of the training data."
        )

    def as_dict(self) -> dict:
        factors, sight = {}, self.sight
        if self.cpose is not None and self.viewpoint is not None:
            factors = {
                "canonical pose, mm": self.cpose.tolist(),
                "viewpoint": self.viewpoint.tolist(),
                "distance of their product from the pose, mm": self.disagreement_mm,
                "share of held-out images with a smaller distance": self.disagreement_quantile,
            }
        found = {"presence of a hand": sight.hand.presence} if sight.hand else {}
        return {
            "image": str(sight.path),
            "side": "right" if sight.right else "left",
            "read from": self.via,
            "crop": [sight.box.left, sight.box.top, sight.box.side],
            **found,
            "joint order": f"OpenPose: {self.root_joint}, then thumb to little finger, each from base to tip",
            f"pose, mm from the {self.root_joint}, x right, y down, z away": self.pose.tolist(),
            "spread of each joint, mm": self.spread.tolist(),
            **factors,
            "keypoints, pixels": self.keypoints.tolist(),
        }


def look(
    path: Path, size: int, detector: Detector | None = None, box: Box | None = None, right: bool | None = None
) -> list[Sight]:
    """The hands in a photograph, cropped for a model with images of `size` pixels.

    detector: detects them. box: a square around one hand, in place of the detected ones; without detector and box, the
    whole of a nearly square photograph is used. right: the side of the hands; by default that of the detector or,
    without one, left.

    Raises UserError if the photograph cannot be read, if no hand is found in it, or if the box is invalid.
    """
    photograph = read_image(path)
    height, width, _ = photograph.shape
    if box:
        _check(box, path, height, width)
        piece, left, top = _piece(photograph, box)
        hands = detector.find(piece) if detector else []
        hand = hands[0]._replace(keypoints=hands[0].keypoints + np.array([left, top])) if hands else None
        found: list[tuple[Box, Hand | None]] = [(box, hand)]
    elif detector:
        found = [(around(hand), hand) for hand in detector.find(photograph)]
        if not found:
            raise UserError(
                f"No hand was found in {path}. If there is one, give its place: --crop LEFT TOP SIDE, a square around "
                "it in pixels."
            )
    else:
        found = [(_whole(path, height, width), None)]
    shown = Image.fromarray(photograph)
    shown.thumbnail((_SHOWN, _SHOWN))
    kept = np.asarray(shown)
    return [
        Sight(
            Path(path),
            kept,
            (width, height),
            square,
            right if right is not None else bool(hand and hand.right),
            cut(photograph, square, size),
            hand,
        )
        for square, hand in found
    ]


@torch.inference_mode()
def predict(
    model: CrossModalVAE | DVAE,
    sights: Sequence[Sight],
    via: Via = "image",
    bone: float = 40.0,
    reference: Tensor | None = None,
    root_joint: Root = "palm",
) -> list[Prediction]:
    """Predicts the pose of hands, all in one batch.

    model: encodes or embeds `via`, and decodes the 3D pose. The keypoints are the detector's; without a detection they
        are the model's, or else those of the pose, placed in the crop.
    via: the input of the model. With "keypoints", those of the detector are used, and the image where there are none.
    bone: the length in mm of the proximal phalanx of the middle finger, which a photograph does not determine; about 40
        for an adult.
    reference: (N,) the `evaluation.decoder_disagreement` of held-out images (`Run.errors`). Latents of images without a
        hand do not occur in training, and the decoders disagree on them (chapter 12).
    root_joint: the joint that the model's poses are relative to.

    Raises UserError if the length of the bone is not plausible.
    """
    check_bone(bone)
    model.eval()
    vias: list[Via] = ["keypoints" if via == "keypoints" and sight.hand else "image" for sight in sights]
    answers: dict[int, Prediction] = {}
    for source in ("image", "keypoints"):
        chosen = [i for i, own in enumerate(vias) if own == source]
        if chosen:
            x = torch.stack([_given(sights[i], source) for i in chosen])
            predictions = _decoded(model, source, x, [sights[i] for i in chosen], bone, reference, root_joint)
            answers |= dict(zip(chosen, predictions, strict=True))
    return [answers[i] for i in range(len(sights))]


def check_bone(bone: float) -> None:
    """Raises UserError if the length of the bone in mm is not plausible."""
    if not BONES[0] <= bone <= BONES[1]:
        raise UserError(f"--bone is {bone:g}: it must be from {BONES[0]:g} to {BONES[1]:g} mm.")


def _given(sight: Sight, via: str) -> Tensor:
    """A model's input for a hand, as a left one: the image (3, S, S), or the keypoints (21, 2) in the crop."""
    if via == "image" or sight.hand is None:
        return sight.image.flip(-1) if sight.right else sight.image
    corner = torch.tensor([sight.box.left, sight.box.top])
    keypoints = 2 * (torch.from_numpy(sight.hand.keypoints).float() - corner) / sight.box.side - 1
    return keypoints * torch.tensor([-1.0 if sight.right else 1.0, 1.0])


def _decoded(
    model: CrossModalVAE | DVAE,
    via: Via,
    x: Tensor,
    sights: Sequence[Sight],
    bone: float,
    reference: Tensor | None,
    root_joint: Root,
) -> Iterator[Prediction]:
    q = model.encode(via, x)
    means = model.decode(q.mean)
    disagreement = decoder_disagreement(means) if {"pose", "cpose"} <= means.keys() else None
    draws = model.decode(q.sample((_DRAWS,)).flatten(0, 1), ["pose"])["pose"].unflatten(0, (_DRAWS, -1))
    spread = bone * (draws - draws.mean(0)).square().sum(-1).mean(0).sqrt()
    for i, sight in enumerate(sights):
        box, right = sight.box, sight.right
        pose = mirror(means["pose"][i], right)
        if sight.hand:
            keypoints = torch.from_numpy(sight.hand.keypoints).float()
        elif "keypoints" in means:
            own = means["keypoints"][i] * torch.tensor([-1.0 if right else 1.0, 1.0])
            keypoints = (own + 1) / 2 * box.side + torch.tensor([box.left, box.top])
        else:
            keypoints = _keypoints(pose, box)
        prediction = Prediction(sight, via, bone * pose, spread[i], keypoints, root_joint=root_joint)
        if "cpose" in means:
            viewpoint = project_to_rotation(means["viewpoint"][i])
            if right:  # of the hand before mirroring, as in `canonical.canonicalise`
                viewpoint = torch.diag(torch.tensor([1.0, 1.0, -1.0])) @ mirror(viewpoint)
            prediction = replace(prediction, cpose=bone * means["cpose"][i], viewpoint=viewpoint)
        if disagreement is not None:
            quantile = None if reference is None else (reference < disagreement[i]).float().mean().item()
            prediction = replace(
                prediction, disagreement_mm=bone * disagreement[i].item(), disagreement_quantile=quantile
            )
        yield prediction


def cut(photograph: np.ndarray, box: Box, size: int) -> Tensor:
    """A model's input (3, size, size) in [−1, 1]: the box, cropped from a photograph (H, W, 3) uint8."""
    piece, left, top = _piece(photograph, box)
    shrink = max(1, int(box.side / (_SHRINK * size)))
    if shrink > 1:
        piece = np.asarray(Image.fromarray(piece).reduce(shrink))
    pixels = torch.from_numpy(piece.copy()).permute(2, 0, 1)[None]
    middle = torch.tensor([[box.left + box.side / 2 - left, box.top + box.side / 2 - top]]) / shrink
    return crop(pixels, middle, torch.tensor([box.side / shrink]), size)[0].float() / 127.5 - 1


def _piece(photograph: np.ndarray, box: Box) -> tuple[np.ndarray, int, int]:
    """The pixels of a box inside the photograph, with a margin of one; and their left and top."""
    left, top = (max(0, math.floor(start) - 1) for start in (box.left, box.top))
    right, bottom = (math.ceil(start + box.side) + 1 for start in (box.left, box.top))
    return photograph[top:bottom, left:right], left, top


def around(hand: Hand) -> Box:
    """The protocol's window around a hand, of any size: see `crop.crop_window`."""
    middle = hand.keypoints[MIDDLE_MCP]
    reach = max(float(np.abs(hand.keypoints - middle).max()), 4.0)
    x, y = (middle - reach).tolist()
    return Box(x, y, 2 * reach)


def _whole(path: Path, height: int, width: int) -> Box:
    if max(height, width) > _MAX_ASPECT * min(height, width):
        raise UserError(
            f"{path} is {width} × {height} pixels and no crop was given: the model needs a square around one hand. "
            "Pass --crop LEFT TOP SIDE, in pixels, or an image cropped to the hand; or install the hand detector: "
            '`pip install "dvae-lib[detect]"`, then `dvae download detector`.'
        )
    side = min(height, width)
    return Box((width - side) / 2, (height - side) / 2, side)


def _check(box: Box, path: Path, height: int, width: int) -> None:
    numbers = (box.left, box.top, box.side)
    beside = box.left >= width or box.top >= height or box.left + box.side <= 0 or box.top + box.side <= 0
    if not all(map(math.isfinite, numbers)) or box.side < 8 or box.side > 3 * max(width, height) or beside:
        raise UserError(
            f"The crop {box.left:g} {box.top:g} {box.side:g} is outside {path} ({width} × {height} pixels), smaller "
            "than 8 pixels, or far larger than the photograph. Give the left, the top and the side of a square around "
            "the hand."
        )


def _keypoints(pose: Tensor, box: Box) -> Tensor:
    """The pixel coordinates (21, 2) of a pose (21, 3), without perspective, if the box is the evaluation protocol's
    crop: centred on the middle MCP, and just large enough for the hand.
    """
    flat = (pose - pose[MIDDLE_MCP])[:, :2]
    centre = torch.tensor([box.left, box.top]) + box.side / 2
    return centre + flat * box.side / 2 / flat.abs().max()
