r"""3DPose ⇄ (CPose, viewpoint): the canonical frame of Zimmermann & Brox, used by the dVAE paper (chapter 2).

A pose is turned, about its root, until the middle MCP lies on the negative y axis and the little MCP in the
half plane z = 0, x > 0. What is left is the canonical pose (CPose): the same gesture from every viewpoint. The
rotation that was undone is the viewpoint $R$: with poses as rows, $\mathrm{pose} = \mathrm{CPose}\, R$.
"""

import torch
from torch import Tensor

from dvae_lib.hand import LITTLE_MCP, MIDDLE_MCP


def _rotation(axis: int, angle: Tensor) -> Tensor:
    """Rotations (..., 3, 3) that act on row vectors from the right, about x (0), y (1) or z (2)."""
    c, s = angle.cos(), angle.sin()
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    R = torch.zeros(*angle.shape, 3, 3, dtype=angle.dtype, device=angle.device)
    R[..., axis, axis] = 1
    R[..., i, i] = R[..., j, j] = c
    R[..., i, j], R[..., j, i] = s, -s
    return R


def _to_canonical_frame(pose: Tensor) -> Tensor:
    """The rotation T (..., 3, 3) with pose @ T canonical; `pose` (..., 21, 3) is relative to its root."""
    middle = pose[..., MIDDLE_MCP, :]
    Rz = _rotation(2, torch.atan2(middle[..., 0], middle[..., 1]))  # middle MCP into the plane x = 0
    middle = (middle[..., None, :] @ Rz)[..., 0, :]
    Rx = _rotation(0, torch.pi - torch.atan2(middle[..., 2], middle[..., 1]))  # … onto the −y axis
    little = (pose[..., LITTLE_MCP, None, :] @ Rz @ Rx)[..., 0, :]
    Ry = _rotation(1, torch.atan2(little[..., 2], little[..., 0]))  # little MCP into z = 0, x > 0
    return Rz @ Rx @ Ry


def canonicalise(pose: Tensor, right: Tensor | bool = False) -> tuple[Tensor, Tensor]:
    """Splits poses into (CPose, viewpoint).

    pose: (..., 21, 3), any unit; joint 0 is its root.
    right: (...) bool, true for right hands, whose CPose is mirrored (z → −z) into a left hand's.

    Returns CPose (..., 21, 3), root at 0, and the viewpoint (..., 3, 3), a rotation.
    Source: the protocol of Zimmermann & Brox (ICCV 2017), followed by the paper's Sec. 3.3.
    """
    relative = pose - pose[..., :1, :]
    T = _to_canonical_frame(relative)
    return _mirror_z(relative @ T, right), T.transpose(-1, -2)


def compose(cpose: Tensor, viewpoint: Tensor, right: Tensor | bool = False) -> Tensor:
    """The root-relative pose (..., 21, 3) of a CPose seen from a viewpoint: the inverse of `canonicalise`."""
    return _mirror_z(cpose, right) @ viewpoint


def _mirror_z(cpose: Tensor, right: Tensor | bool) -> Tensor:
    right = torch.as_tensor(right, device=cpose.device)[..., None]
    return torch.stack([cpose[..., 0], cpose[..., 1], torch.where(right, -cpose[..., 2], cpose[..., 2])], dim=-1)


def project_to_rotation(matrix: Tensor) -> Tensor:
    """The rotation (..., 3, 3) nearest in the Frobenius norm to any matrix (..., 3, 3) with a unique nearest one.

    A network's nine numbers are no rotation; this is how they are read as one for evaluation.
    """
    U, _, Vh = torch.linalg.svd(matrix)
    sign = torch.linalg.det(U @ Vh)
    D = torch.ones(matrix.shape[:-1], dtype=matrix.dtype, device=matrix.device)
    D[..., 2] = sign
    return (U * D[..., None, :]) @ Vh
