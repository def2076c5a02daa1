"""The pose of the hand in one's own photographs: crop, encode, decode (chapters 06, 12)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dvae_lib.datasets.crop import crop
from dvae_lib.experiments.evaluation import contradiction
from dvae_lib.files import UserError, read_image
from dvae_lib.hand import MIDDLE_MCP, Root, mirror
from dvae_lib.hand.canonical import project_to_rotation
from dvae_lib.models import DVAE, CrossModalVAE

# A photograph this far from square was hardly framed around a hand.
_MOST_OBLONG = 1.15
_DRAWS = 64  # of the latent, for the spread
_DOUBTFUL = 0.95  # of the test images are read with less contradiction: one in twenty of them is called doubtful too


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
    pose: Tensor  # (21, 3) mm, relative to its root
    spread: Tensor  # (21,) mm, root mean square distance of the joints of poses drawn from q(z | x) from their mean
    keypoints: Tensor  # (21, 2) pixels of the photograph
    cpose: Tensor | None = None  # (21, 3) mm, as a left hand's
    viewpoint: Tensor | None = None  # (3, 3), the rotation that leads from it to the pose: see `canonical.compose`
    apart: float | None = None  # mm, mean distance of the joints of that product from those of the pose
    doubt: float | None = None  # share of the test images that are read with less of it
    root: Root = "palm"  # what joint 0 is

    @property
    def warning(self) -> str | None:
        """A sentence, where the readings contradict each other as they seldom do in images of hands."""
        if self.doubt is None or self.doubt < _DOUBTFUL:
            return None
        return (
            f"{self.path}: the two readings of the pose are {self.apart:.0f} mm apart, more than in "
            f"{100 * self.doubt:.0f} % of the test images. The crop may show no hand, one badly framed, or one unlike "
            "those that the model has learnt from."
        )

    def as_dict(self) -> dict:
        factors = {}
        if self.cpose is not None and self.viewpoint is not None:
            factors = {
                "canonical pose, mm": self.cpose.tolist(),
                "viewpoint": self.viewpoint.tolist(),
                "canonical pose and viewpoint apart from the pose, mm": self.apart,
                "share of test images that are less so": self.doubt,
            }
        return {
            "image": str(self.path),
            "crop": [self.box.left, self.box.top, self.box.side],
            "joint order": f"OpenPose: {self.root}, then thumb to little finger, each from base to tip",
            f"pose, mm from the {self.root}, x right, y down, z away": self.pose.tolist(),
            "spread of each joint, mm": self.spread.tolist(),
            **factors,
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


def _placed(pose: Tensor, box: Box) -> Tensor:
    """Pixels (21, 2) of a pose (21, 3) in a box that the evaluation protocol would have cut around it: centred on the
    middle MCP, and as wide as the hand reaches from there to either side. Perspective is left out.
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
    usual: Tensor | None = None,
    root: Root = "palm",
) -> list[Prediction]:
    """Reads photographs of a hand each, all in one batch.

    model: encodes, or embeds, images, and decodes the 3D pose. Where it decodes no keypoints, they are the pose drawn
    into the crop.
    size: pixels of the model's crop. box: the same in every photograph. right: whether they show right hands.
    bone: the length in mm of the proximal phalanx of the middle finger, which no photograph tells; 40 is an adult's.
    usual: (N,) the `evaluation.contradiction` of test images (`Run.errors`). The latent of an image without
        a hand was never decoded in training, and there the decoders contradict each other (chapter 12).
    root: the joint that the model's poses are relative to.

    Raises UserError if an image cannot be read or no square around the hand is known.
    """
    photographs = [read_image(path) for path in paths]
    boxes = [_box(box, path, *photograph.shape[:2]) for path, photograph in zip(paths, photographs, strict=True)]
    image = torch.cat([_crop(*each, size) for each in zip(photographs, boxes, strict=True)])
    model.eval()
    q = model.encode("image", image.flip(-1) if right else image)
    means = model.decode(q.mean)
    apart = contradiction(means) if {"pose", "cpose"} <= means.keys() else None
    drawn = torch.stack([model.decode(z, ["pose"])["pose"] for z in q.sample((_DRAWS,))])
    spread = bone * (drawn - drawn.mean(0)).square().sum(-1).mean(0).sqrt()

    found = []
    for i, (path, photograph, own) in enumerate(zip(paths, photographs, boxes, strict=True)):
        pose = mirror(means["pose"][i], right)
        answer = Prediction(Path(path), photograph, own, bone * pose, spread[i], _placed(pose, own), root=root)
        if "keypoints" in means:
            keypoints = means["keypoints"][i] * torch.tensor([-1.0 if right else 1.0, 1.0])
            pixels = (keypoints + 1) / 2 * own.side + torch.tensor([own.left, own.top])
            answer = replace(answer, keypoints=pixels)
        if "cpose" in means:
            doubt = None if usual is None else (usual < apart[i]).float().mean().item()
            viewpoint = project_to_rotation(means["viewpoint"][i])
            if right:  # of the hand before the mirror, as `canonical.canonicalise` has it
                viewpoint = torch.diag(torch.tensor([1.0, 1.0, -1.0])) @ mirror(viewpoint)
            answer = replace(answer, cpose=bone * means["cpose"][i], viewpoint=viewpoint)
            answer = replace(answer, apart=bone * apart[i].item(), doubt=doubt)
        found.append(answer)
    return found


def _box(box: Box | None, path: Path, height: int, width: int) -> Box:
    return _check_box(box, path, height, width) if box else _whole_image(path, height, width)


def _crop(photograph: np.ndarray, box: Box, size: int) -> Tensor:
    """What a model sees of a photograph: (1, 3, size, size) in [−1, 1]."""
    pixels = torch.from_numpy(photograph.copy()).permute(2, 0, 1)[None]
    centre = torch.tensor([[box.left + box.side / 2, box.top + box.side / 2]])
    return crop(pixels, centre, torch.tensor([box.side]), size).float() / 127.5 - 1
