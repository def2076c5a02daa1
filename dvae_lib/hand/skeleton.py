"""The hand of 21 joints: names, bones, the orders used by each data set, root and scale (chapter 2).

Everything in the book uses the OpenPose order: the root, then five fingers from the thumb to the little one, each from
base to tip. Poses are in millimetres in the camera's frame: x right, y down, z forward. Batches show left hands; right
hands are mirrored into left ones when batches are made.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

FINGERS = {
    "thumb": [1, 2, 3, 4],
    "index": [5, 6, 7, 8],
    "middle": [9, 10, 11, 12],
    "ring": [13, 14, 15, 16],
    "little": [17, 18, 19, 20],
}
_THUMB_JOINTS = ("CMC", "MCP", "IP", "TIP")
_FINGER_JOINTS = ("MCP", "PIP", "DIP", "TIP")
JOINTS = ["root"] + [
    f"{finger} {joint}" for finger in FINGERS for joint in (_THUMB_JOINTS if finger == "thumb" else _FINGER_JOINTS)
]
PARENTS = [-1] + [parent for joints in FINGERS.values() for parent in [0, *joints[:-1]]]
BONES = [(parent, child) for child, parent in enumerate(PARENTS) if parent >= 0]

MIDDLE_MCP, MIDDLE_PIP, LITTLE_MCP = 9, 10, 17

Root = Literal["palm", "wrist"]

# ORDERS[name][i] is the index of our joint i in that data set: pose[..., ORDERS[name], :] is in our order.
ORDERS = {
    "openpose": list(range(21)),
    "realhand": list(range(21)),
    # RHD, and the code of Zimmermann & Brox: wrist, then thumb to little, each from tip to base.
    "rhd": [0] + [base - j for base in (4, 8, 12, 16, 20) for j in range(4)],
    # STB: palm centre, then little to thumb, each from base to tip.
    "stb": [0] + [base + j for base in (17, 13, 9, 5, 1) for j in range(4)],
}


def palm_centre(pose: Float[Tensor, "*batch 21 D"]) -> Float[Tensor, "*batch D"]:
    """The midpoint of wrist and middle MCP: the root in the evaluation protocol of Zimmermann & Brox."""
    return (pose[..., 0, :] + pose[..., MIDDLE_MCP, :]) / 2


def with_root(
    pose: Float[Tensor, "*batch 21 D"], root: Root = "palm", palm: Float[Tensor, "*batch D"] | None = None
) -> Float[Tensor, "*batch 21 D"]:
    """A pose whose joint 0 is the wrist, with the given root as joint 0.

    palm: the palm centre where a data set labels it (STB); `palm_centre` by default.
    """
    if root == "wrist":
        return pose
    if root != "palm":
        raise ValueError(f"root is “{root}”; it is either “palm” or “wrist”.")
    palm = palm_centre(pose) if palm is None else palm
    return torch.cat([palm[..., None, :], pose[..., 1:, :]], dim=-2)


def bone_scale(pose: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch"]:
    """The length of the proximal phalanx of the middle finger: the unit of the normalised pose."""
    return (pose[..., MIDDLE_MCP, :] - pose[..., MIDDLE_PIP, :]).norm(dim=-1)


def project(
    pose: Float[Tensor, "*#batch joints 3"], K: Float[Tensor, "*#batch 3 3"]
) -> Float[Tensor, "*#batch joints 2"]:
    """The pixels of joints seen by a pinhole camera K.

    Pixel (i, j) covers the square from (j, i) to (j + 1, i + 1), so its centre is at (j + ½, i + ½).
    """
    homogeneous = pose @ K.transpose(-1, -2)
    return homogeneous[..., :2] / homogeneous[..., 2:]


def mirror(
    pose: Float[Tensor, "*batch joints 3"], flip: Bool[Tensor, "*batch"] | bool = True
) -> Float[Tensor, "*batch joints 3"]:
    """The mirror image (x → −x) of the poses for which `flip` is true: a left hand becomes a right one."""
    sign = torch.ones(3, dtype=pose.dtype, device=pose.device)
    sign[0] = -1
    if isinstance(flip, bool):
        return pose * sign if flip else pose
    return torch.where(flip[..., None, None], pose * sign, pose)


_KNUCKLES = [(5, 9), (9, 13), (13, 17), (2, 5)]  # lines between knuckles, which cover the palm together with the bones
_FINGER_RADIUS = 0.28  # in bone scales


def silhouette(
    joints: Float[Tensor, "B 21 3"], K: Float[Tensor, "B 3 3"], size: int
) -> Bool[Tensor, "B 1 {size} {size}"]:
    """The approximate mask of a hand with joints in mm, seen by the camera K: all pixels within a finger's radius of a
    bone. It is used for photographs without masks.
    """
    points = project(joints, K)
    a, b = (points[:, list(ends)] for ends in zip(*BONES, *_KNUCKLES, strict=True))  # (B, S, 2)
    centres = torch.arange(size, device=points.device) + 0.5
    pixels = torch.cartesian_prod(centres, centres).flip(-1)  # (size², 2), x first
    along = b - a
    squared = along.square().sum(-1).clamp(min=1e-6)
    offset = pixels[None, None] - a[:, :, None]  # (B, S, size², 2)
    t = ((offset * along[:, :, None]).sum(-1) / squared[..., None]).clamp(0, 1)
    distance = (offset - t[..., None] * along[:, :, None]).norm(dim=-1)
    focal = K[:, :2, :2].det().abs().sqrt()  # pixels; independent of the rotation of the crop
    radius = _FINGER_RADIUS * (bone_scale(joints) * focal / joints[:, MIDDLE_MCP, 2])[:, None]
    return (distance < radius[..., None]).any(1).unflatten(-1, (1, size, size))
