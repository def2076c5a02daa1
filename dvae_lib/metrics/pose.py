r"""Metrics of poses, by the protocol of Zimmermann & Brox (chapters 02, 03 and 06).

For joint j with errors $e_{ij}$ in mm over the samples i in which it is visible, and with means over joints taken last:

- EPE, end-point error: $\mathrm{mean}_j\, \mathrm{mean}_i\, e_{ij}$; the median EPE uses the median over i.
- PCK, percentage of correct keypoints: $\mathrm{mean}_j\, \mathrm{mean}_i\, [e_{ij} \le t]$ at a threshold t.
- AUC, area under the PCK curve: its integral over a range of thresholds, divided by the width of the range.

All joints have the same weight, including the root, however often each is visible. A *pooled* PCK, one proportion over
all visible joints of all samples, weights a joint by how often it is visible, which favours the joints that are rarely
occluded; the two agree if all joints are visible equally often.

The root, palm or wrist, is chosen when batches are made (`datasets.batches.make_batch`). True and predicted poses are
relative to it, and nothing is shifted afterwards: here its name is only passed on to the scores.
"""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dvae_lib.files import UserError, atomic_write
from dvae_lib.hand import JOINTS, Root
from dvae_lib.hand.canonical import project_to_rotation

# The thresholds in mm of the public evaluation code. Its “AUC 20–50 mm” is over the last 12, from 21.05 mm on.
THRESHOLDS = np.linspace(0, 50, 20)


def joint_errors(prediction: Float[Tensor, "B 21 3"], batch: Mapping[str, Tensor]) -> Float[Tensor, "B 21"]:
    """Distance in mm (B, 21) between predicted and true joints; NaN where a joint is not visible.

    prediction: (B, 21, 3) in bone scales, as the models decode it. It is converted to millimetres with the true
    bone scale and, as in the protocol of Zimmermann & Brox, is not shifted to move its root to 0. Where it is not
    a number, the error of a visible joint is infinite: leaving it out would favour a model that has diverged.
    """
    distance = (prediction - batch["pose"]).norm(dim=-1) * batch["scale"][:, None]
    return distance.masked_fill(distance.isnan(), torch.inf).masked_fill(~batch["visible"], torch.nan)


def scaled_errors(prediction: Float[Tensor, "B 21 3"], batch: Mapping[str, Tensor]) -> Float[Tensor, "B 21"]:
    """`joint_errors` with the true overall size in place of the true bone: predictions are scaled to the truth's norm.

    The length of one bone gives the size of a hand only as accurately as it was labelled; the overall size does not
    depend on a single bone.
    """
    truth = batch["pose"]
    size = truth.flatten(1).norm(dim=1) / prediction.flatten(1).norm(dim=1)
    return joint_errors(prediction * size[:, None, None], batch)


def procrustes_errors(prediction: Float[Tensor, "B 21 3"], batch: Mapping[str, Tensor]) -> Float[Tensor, "B 21"]:
    """`joint_errors` (“PA-EPE” in later papers) after the rotation, scale and shift that minimise the squared distances
    of all 21 joints of the prediction from the truth: what remains is the error of the gesture.
    """
    truth = batch["pose"]
    middle = truth.mean(1, keepdim=True)
    a, b = prediction - prediction.mean(1, keepdim=True), truth - middle
    U, S, Vh = torch.linalg.svd((a.mT @ b).double())
    mirrored = torch.linalg.det(U @ Vh).sign()
    signs = torch.stack([torch.ones_like(mirrored), torch.ones_like(mirrored), mirrored], dim=-1)
    scale = (S * signs).sum(-1) / a.double().square().sum((-1, -2))
    aligned = scale[:, None, None] * a.double() @ (U * signs[:, None]) @ Vh
    return joint_errors(aligned.to(truth) + middle, batch)


def epe(errors: Float[Tensor, "N 21"]) -> float:
    """End-point error in mm of `joint_errors` (N, 21): the mean over the joints of each joint's mean.

    Raises UserError where no joint is visible in any sample.
    """
    return float(np.mean([column.mean() for column in _by_joint(errors).values()]))


def _by_joint(errors: Float[Tensor, "N 21"]) -> dict[int, Float[np.ndarray, " seen"]]:
    """The errors of every joint that is ever visible, sorted."""
    columns = errors.detach().cpu().double().numpy().T
    seen = {joint: np.sort(column[~np.isnan(column)]) for joint, column in enumerate(columns)}
    seen = {joint: column for joint, column in seen.items() if len(column)}
    if not seen:
        raise UserError(
            f"There is nothing to score: none of {len(errors)} samples has a visible joint. "
            "Check that the test split is not empty and that its labels were read."
        )
    return seen


def pck(
    errors: Float[Tensor, "N 21"], thresholds: Sequence[float] | Float[np.ndarray, " T"] = THRESHOLDS
) -> Float[np.ndarray, " T"]:
    """PCK (T,) of `joint_errors` (N, 21) at thresholds (T,) in mm; an error equal to a threshold counts as within.

    Raises UserError where no joint is visible in any sample.
    """
    shares = [np.searchsorted(column, thresholds, side="right") / len(column) for column in _by_joint(errors).values()]
    return np.mean(shares, axis=0)


def auc(
    thresholds: Sequence[float] | Float[np.ndarray, " T"],
    shares: Sequence[float] | Float[np.ndarray, " T"],
    low: float,
    high: float,
) -> float:
    """Area under a PCK curve: by the trapezoidal rule over those of its points (T,) that are in [low, high] mm, divided
    by the distance between the first and the last of them.

    With `THRESHOLDS`, “20–50 mm” is therefore 21.05–50 mm, as in the public evaluation code. Raises ValueError if
    fewer than two points are in the range.
    """
    thresholds, shares = np.asarray(thresholds, dtype=float), np.asarray(shares, dtype=float)
    inside = (thresholds >= low) & (thresholds <= high)
    if inside.sum() < 2:
        raise ValueError(f"Between {low} and {high} mm the curve has {inside.sum()} points; an area requires two.")
    t, y = thresholds[inside], shares[inside]
    return float(np.sum(np.diff(t) * (y[1:] + y[:-1]) / 2) / (t[-1] - t[0]))


def exact_auc(errors: Float[Tensor, "N 21"], low: float, high: float) -> float:
    r"""Area under the PCK curve of `joint_errors` (N, 21) over exactly [low, high] mm, without a grid of thresholds.

    The curve is a step function, and $\int_a^b [e \le t]\,dt$ is $b - e$, clipped to $[0, b - a]$.
    """
    shares = [np.clip((high - column) / (high - low), 0, 1).mean() for column in _by_joint(errors).values()]
    return float(np.mean(shares))


@dataclass(frozen=True)
class PoseScores:
    """The scores of one model on one test set; lengths in mm, proportions and areas from 0 to 1."""

    root: Root  # joint 0 of predictions and truth
    samples: int
    epe: float
    median_epe: float
    epe_per_joint: tuple[float, ...]  # 21; NaN for a joint that is never visible
    median_epe_per_joint: tuple[float, ...]
    never_visible: tuple[str, ...]  # joints that are visible in no sample, and not in the means
    not_a_number: int  # visible joints with an infinite error: the prediction is not a number there
    thresholds: tuple[float, ...]
    pck: tuple[float, ...]
    auc_0_50: float
    auc_20_50_reference: float  # as in the public evaluation code: 12 points from 21.05 to 50 mm
    auc_20_50: float  # over exactly 20 to 50 mm

    def as_json(self) -> dict:
        """Every field, as strict JSON: null in place of numbers that are not finite."""
        return {name: _finite(value) for name, value in asdict(self).items()}

    def to_csv(self, path: Path) -> None:
        """Writes the PCK curve, one threshold per line."""
        with atomic_write(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["threshold_mm", "pck"])
            writer.writerows(zip(self.thresholds, self.pck, strict=True))


def _finite(value):
    if isinstance(value, tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def score_pose(errors: Float[Tensor, "N 21"], root: Root) -> PoseScores:
    """All scores of `joint_errors` (N, 21), concatenated over all batches; `root` is that of the batches.

    Raises UserError where no joint is visible in any sample.
    """
    seen = _by_joint(errors)
    means = [float(np.mean(seen[joint])) if joint in seen else math.nan for joint in range(len(JOINTS))]
    medians = [float(np.median(seen[joint])) if joint in seen else math.nan for joint in range(len(JOINTS))]
    curve = pck(errors)
    return PoseScores(
        root=root,
        samples=len(errors),
        epe=epe(errors),
        median_epe=float(np.nanmean(medians)),
        epe_per_joint=tuple(means),
        median_epe_per_joint=tuple(medians),
        never_visible=tuple(name for joint, name in enumerate(JOINTS) if joint not in seen),
        not_a_number=int(errors.isinf().sum()),
        thresholds=tuple(THRESHOLDS.tolist()),
        pck=tuple(curve.tolist()),
        auc_0_50=auc(THRESHOLDS, curve, 0, 50),
        auc_20_50_reference=auc(THRESHOLDS, curve, 20, 50),
        auc_20_50=exact_auc(errors, 20, 50),
    )


def geodesic(a: Float[Tensor, "*batch 3 3"], b: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch"]:
    r"""The angle in degrees (...), from 0 to 180, of the rotation that leads from a (..., 3, 3) to b (..., 3, 3).

    With $R = a^T b$ it is $\operatorname{atan2}(\lVert R - R^T \rVert_F / \sqrt 2,\ \operatorname{tr} R - 1)$, which,
    unlike the arc cosine of the trace, is as precise near 0° and 180° as elsewhere.
    """
    R = a.mT @ b
    twice_sine = (R - R.mT).norm(dim=(-1, -2)) / math.sqrt(2)
    return torch.rad2deg(torch.atan2(twice_sine, R.diagonal(dim1=-2, dim2=-1).sum(-1) - 1))


def viewpoint_errors(
    prediction: Float[Tensor, "*batch 3 3"], viewpoint: Float[Tensor, "*batch 3 3"]
) -> Float[Tensor, "*batch"]:
    """Geodesic error in degrees (...) of predicted viewpoints (..., 3, 3), any matrices, against the true rotations.

    A prediction is replaced by the nearest rotation; one that is not finite has an error of 180°.
    """
    finite = prediction.isfinite().all(-1).all(-1)
    readable = torch.where(finite[..., None, None], prediction, torch.eye(3).to(prediction))
    return geodesic(project_to_rotation(readable), viewpoint).masked_fill(~finite, 180.0)
