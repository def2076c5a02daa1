"""What a trained model is worth on held-out samples, as plain numbers (chapters 03 to 07)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from dvae_lib.datasets.batches import LABELS
from dvae_lib.hand import Root
from dvae_lib.hand.canonical import compose, project_to_rotation
from dvae_lib.metrics import PoseScores, epe, joint_errors, score_pose, viewpoint_errors
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.models.regressors import Regressor

Model = CrossModalVAE | DVAE | Regressor
MEAN_POSE = "mean pose"


@dataclass(frozen=True)
class Evaluation:
    """What a model said of the test samples; everywhere the mean answer is among the sources, as “mean pose”.

    report: numbers as JSON has them, see `evaluate`. scores: of the 3D poses from each source. errors: of each
    source, by what was read, each sample's (N,): over its visible joints in mm, or as in the report.
    """

    report: dict
    scores: dict[str, PoseScores]
    errors: dict[str, dict[str, Tensor]]


def mean_labels(batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The means of the normalised poses, CPoses and viewpoints: the best that can be said without looking."""
    parts = [{name: batch[name] for name in LABELS} for batch in batches]
    return {name: torch.cat([part[name] for part in parts]).mean(0) for name in LABELS}


def composed(means: Mapping[str, Tensor]) -> Tensor:
    """The pose (B, 21, 3) that the decoded CPose and viewpoint make, the latter read as the nearest rotation."""
    return compose(means["cpose"], project_to_rotation(means["viewpoint"].float()))


def contradiction(means: Mapping[str, Tensor]) -> Tensor:
    """How far the decoded pose is from the `composed` one (B,): the mean over all joints, in bone scales."""
    return (composed(means) - means["pose"]).norm(dim=-1).mean(-1)


@torch.inference_mode()
def evaluate(model: Model, test: Iterable[dict[str, Tensor]], average: Mapping[str, Tensor], root: Root) -> Evaluation:
    """All that is read from every source, against the truth: from each encoder's mean; of a dVAE also from “factors”.

    average: the mean labels of the training samples; root: what joint 0 is in them and in the batches.

    The report has for the mean pose and each source its end-point error in mm (`epe`), also as a share of the mean
    pose's (`relative`), and all else of `metrics.PoseScores` (`scores`); for CPose the EPE in mm; for the viewpoint the
    mean angle in degrees; where both are decoded the EPE of the pose `composed` of them, which is `epe` too if no pose
    is decoded, and how far `apart` it is from the one decoded, in mm, or as their `contradiction`; for keypoints the
    mean distance, where the crop spans 2; for images the root mean square error on [−1, 1]; of a VAE the KL in nats,
    and the bound that training maximises, one z a sample.
    """
    model.eval()
    torch.manual_seed(0)
    parts: dict[str, dict[str, list[Tensor]]] = {}
    for batch in test:
        guess = {name: mean.to(batch[name]).expand_as(batch[name]) for name, mean in average.items()}
        found = {MEAN_POSE: {name: _error(name, mean, batch) for name, mean in guess.items()}}
        found |= {source: _errors(means, batch) for source, means in model.predictions(batch).items()}
        for source, (bound, terms) in model.bounds(batch).items():
            kl = sum(term for name, term in terms.items() if name.startswith("kl"))
            found[source] |= {"kl": kl, "bound": bound}
        for source, errors in found.items():
            for name, values in errors.items():
                parts.setdefault(source, {}).setdefault(name, []).append(values)

    errors = {source: {name: torch.cat(values) for name, values in of.items()} for source, of in parts.items()}
    scores = {source: score_pose(of["pose"], root) for source, of in errors.items() if "pose" in of}
    base, report = scores[MEAN_POSE].epe, {}
    for source, of in errors.items():
        report[source] = {name: _mean(values) for name, values in of.items() if name != "pose"}
        if own := scores.get(source):
            report[source] |= {"epe": own.epe, "relative": own.epe / base, "scores": own.as_json()}
    singly = {source: {name: _of_samples(values) for name, values in of.items()} for source, of in errors.items()}
    mean_pose = report.pop(MEAN_POSE)
    return Evaluation({"samples": scores[MEAN_POSE].samples, MEAN_POSE: mean_pose, "from": report}, scores, singly)


@torch.inference_mode()
def errors(model: Model, test: Iterable[dict[str, Tensor]], source: str = "image") -> dict[str, Tensor]:
    """Each sample's errors (N,) by what is read from one source, as `evaluate` has them."""
    model.eval()
    found = [_errors(model.predictions(batch)[source], batch) for batch in test]
    return {name: _of_samples(torch.cat([part[name] for part in found])) for name in found[0]}


def _errors(means: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of what was read from one source: joints' errors (B, 21) of poses, and one a sample (B,) of all else."""
    found = {name: _error(name, mean, batch) for name, mean in means.items()}
    if "cpose" in means:
        together = composed(means)
        found["composed"] = joint_errors(together, batch)
        if "pose" in means:
            found["apart"] = joint_errors(together, {**batch, "pose": means["pose"]})
            found["contradiction"] = contradiction(means)
        found.setdefault("pose", found["composed"])
    return found


def _mean(values: Tensor) -> float:
    """The EPE of joints' errors (N, 21); the mean of what is one number a sample."""
    return epe(values) if values.ndim == 2 else values.mean().item()


def _of_samples(values: Tensor) -> Tensor:
    """The means over each sample's visible joints (N,); NaN where none is."""
    return values.nanmean(1) if values.ndim == 2 else values


def _error(name: str, mean: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """In mm for pose and CPose, degrees for the viewpoint, halves of the crop for keypoints; an image's RMSE."""
    truth = batch[name]
    if name in ("pose", "cpose"):
        return joint_errors(mean, {**batch, "pose": truth})
    if name == "viewpoint":
        return viewpoint_errors(mean.float(), truth)
    if name == "keypoints":
        return (mean - truth).norm(dim=-1).mean(-1)
    return (mean - truth).square().flatten(1).mean(1).sqrt()
