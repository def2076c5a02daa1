"""How good a pose is: end-point error in millimetres, and the baseline that any model must beat (chapter 03)."""

import torch
from torch import Tensor


def joint_errors(prediction: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """Distance in mm (B, 21) between predicted and true joints; NaN where a joint is not visible.

    prediction: (B, 21, 3) in bone scales, as the models decode it. It is brought to millimetres with the true
    bone scale and, as in the protocol of Zimmermann & Brox, is not moved so that its root is at 0.
    """
    distance = (prediction - batch["pose"]).norm(dim=-1) * batch["scale"][:, None]
    return distance.masked_fill(~batch["visible"], torch.nan)


def epe(errors: Tensor) -> float:
    """End-point error in mm of `joint_errors` (N, 21): the mean over the joints of each joint's mean."""
    return errors.nanmean(0).nanmean().item()
