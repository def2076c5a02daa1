"""Labels from the predictions of a landmark network: 3D joints in the frame of a camera."""

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from dvae_lib.detect import Hand

# The camera is unknown. The network's depths and keypoints are consistent with a projection without perspective, so
# the camera is assumed to be far away: its focal length, in side lengths of a photograph.
FOCAL_LENGTH = 10.0

Array = NDArray[np.floating]


def scale(hand: Hand) -> float:
    """Pixels of the photograph per millimetre, by least squares: the keypoints are a projection of the hand's x and y
    coordinates in 3D.
    """
    flat, world = hand.keypoints - hand.keypoints.mean(0), hand.world[:, :2] - hand.world[:, :2].mean(0)
    return float((flat * world).sum() / (world**2).sum())


def lift(
    keypoints: Array, depth: Array, scale: Array, size: int
) -> tuple[Float[Tensor, "B 21 3"], Float[Tensor, "B 3 3"]]:
    """The joints (B, 21, 3) mm in the camera's frame, and the camera (B, 3, 3) of photographs of `size` pixels.

    keypoints: (B, 21, 2) pixels, the projections of the joints. depth: (B, 21) mm, relative depths of the joints.
    scale: (B,) pixels per millimetre.
    """
    f = FOCAL_LENGTH * size
    z = torch.from_numpy(f / np.asarray(scale, np.float64)[:, None] + depth)
    flat = (torch.from_numpy(np.asarray(keypoints, np.float64)) - size / 2) / f * z[..., None]
    K = torch.tensor([[f, 0, size / 2], [0, f, size / 2], [0, 0, 1.0]], dtype=torch.float64)
    return torch.cat([flat, z[..., None]], dim=-1), K.repeat(len(keypoints), 1, 1)
