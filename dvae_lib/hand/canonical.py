r"""3DPose ⇄ (CPose, viewpoint): the canonical frame of Zimmermann & Brox, used by the dVAE paper (chapter 2).

A pose is rotated about its root so that the middle MCP is on the negative y axis and the little MCP in the half plane
z = 0, x > 0. The result is the canonical pose (CPose), which is the same for every viewpoint of a gesture. The inverse
of the rotation is the viewpoint $R$: with joints as rows, $\mathrm{pose} = \mathrm{CPose}\, R$.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dvae_lib.hand import LITTLE_MCP, MIDDLE_MCP


def _rotation(axis: int, angle: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotations that act on row vectors from the right, about x (axis 0), y (1) or z (2). angle: in radians."""
    c, s = angle.cos(), angle.sin()
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = torch.zeros(*angle.shape, 3, 3, dtype=angle.dtype, device=angle.device)
    R[..., axis, axis] = 1
    R[..., i, i] = R[..., j, j] = c
    R[..., i, j], R[..., j, i] = s, -s
    return R


def _to_canonical_frame(pose: Float[Tensor, "*batch 21 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation T for which pose @ T is canonical; the pose is relative to its root."""
    middle = pose[..., MIDDLE_MCP, :]
    Rz = _rotation(2, torch.atan2(middle[..., 0], middle[..., 1]))  # middle MCP into the plane x = 0
    middle = (middle[..., None, :] @ Rz)[..., 0, :]
    Rx = _rotation(0, torch.pi - torch.atan2(middle[..., 2], middle[..., 1]))  # … onto the −y axis
    little = (pose[..., LITTLE_MCP, None, :] @ Rz @ Rx)[..., 0, :]
    Ry = _rotation(1, torch.atan2(little[..., 2], little[..., 0]))  # little MCP into z = 0, x > 0
    return Rz @ Rx @ Ry


def canonicalise(
    pose: Float[Tensor, "*batch 21 3"], right: Bool[Tensor, "*batch"] | bool = False
) -> tuple[Float[Tensor, "*batch 21 3"], Float[Tensor, "*batch 3 3"]]:
    """Splits poses into (CPose, viewpoint).

    pose: in any unit; joint 0 is its root.
    right: true for right hands, whose CPose is mirrored (z → −z) into a left hand's.

    Returns the CPose, whose root is at 0, and the viewpoint, a rotation.
    Source: the protocol of Zimmermann & Brox (ICCV 2017), followed by the paper's Sec. 3.3.
    """
    relative = pose - pose[..., :1, :]
    T = _to_canonical_frame(relative)
    return _mirror_z(relative @ T, right), T.transpose(-1, -2)


def compose(
    cpose: Float[Tensor, "*#batch 21 3"],
    viewpoint: Float[Tensor, "*#batch 3 3"],
    right: Bool[Tensor, "*#batch"] | bool = False,
) -> Float[Tensor, "*#batch 21 3"]:
    """The root-relative pose of a CPose seen from a viewpoint: the inverse of `canonicalise`."""
    return _mirror_z(cpose, right) @ viewpoint


def _mirror_z(
    cpose: Float[Tensor, "*batch 21 3"], right: Bool[Tensor, "*batch"] | bool
) -> Float[Tensor, "*batch 21 3"]:
    if right is False:
        return cpose
    right = torch.as_tensor(right, device=cpose.device)[..., None]
    return torch.stack([cpose[..., 0], cpose[..., 1], torch.where(right, -cpose[..., 2], cpose[..., 2])], dim=-1)


def project_to_rotation(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The rotation nearest to a matrix in the Frobenius norm.

    The nine numbers that a network outputs are not a rotation; evaluation projects them to one.
    """
    U, _, Vh = torch.linalg.svd(matrix)
    sign = torch.linalg.det(U @ Vh)
    D = torch.ones(matrix.shape[:-1], dtype=matrix.dtype, device=matrix.device)
    D[..., 2] = sign
    return (U * D[..., None, :]) @ Vh
