"""Evaluation of a trained model on held-out samples, as plain numbers (chapters 03 to 07)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dvae_lib.datasets.batches import LABELS
from dvae_lib.hand import Root
from dvae_lib.hand.canonical import compose, project_to_rotation
from dvae_lib.metrics import PoseScores, epe, joint_errors, score_pose, viewpoint_errors
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.models.objectives import total
from dvae_lib.models.regressors import Regressor

Model = CrossModalVAE | DVAE | Regressor
MEAN_POSE = "mean pose"


@dataclass(frozen=True)
class Evaluation:
    """The errors of a model on N samples. One of the sources is “mean pose”, the prediction by the mean labels.

    report: numbers in JSON types, see `evaluate`. scores: those of the 3D poses, by source. errors: the error of each
    sample (N,), by source and decoded quantity: the mean over its visible joints in mm, or as in the report.
    """

    report: dict
    scores: dict[str, PoseScores]
    errors: dict[str, dict[str, Tensor]]


def mean_labels(batches: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The means of the normalised poses (21, 3), CPoses (21, 3) and viewpoints (3, 3): the prediction without input."""
    labels = [{name: batch[name] for name in LABELS} for batch in batches]
    return {name: torch.cat([batch[name] for batch in labels]).mean(0) for name in LABELS}


def composed(means: Mapping[str, Tensor]) -> Tensor:
    """The pose (B, 21, 3) composed of the decoded CPose and viewpoint; the viewpoint is projected to a rotation."""
    return compose(means["cpose"], project_to_rotation(means["viewpoint"].float()))


def decoder_disagreement(means: Mapping[str, Tensor]) -> Tensor:
    """The distance (B,) between the decoded and the `composed` pose: the mean over all joints, in bone scales."""
    return (composed(means) - means["pose"]).norm(dim=-1).mean(-1)


@torch.inference_mode()
def evaluate(
    model: Model, test: Iterable[dict[str, Tensor]], average: Mapping[str, Tensor], root_joint: Root
) -> Evaluation:
    """Compares all decodings of the mean of every encoder with the truth; for a dVAE also those from “factors”.

    average: the mean labels of the training samples. root_joint: what joint 0 is in them and in the batches.

    The report contains, for the mean pose and each source, the end-point error in mm (`epe`), also relative to that of
    the mean pose (`relative`), and the rest of `metrics.PoseScores` (`scores`); for the CPose the EPE in mm; for the
    viewpoint the mean angle in degrees; if both are decoded, the EPE of the pose `composed` of them, which is also
    `epe` if no pose is decoded, and its distance from the decoded pose, as `disagreement_mm` over the visible joints
    and as `decoder_disagreement`; for keypoints the mean distance, where the crop spans 2; for images the root mean
    square error on [−1, 1]; for the content the error rate; for a VAE the KL in nats, and the bound that training
    maximises, with one z per sample.
    """
    model.eval()
    torch.manual_seed(0)
    collected: dict[str, dict[str, list[Tensor]]] = {}
    for batch in test:
        mean_pose = {name: mean.to(batch[name]).expand_as(batch[name]) for name, mean in average.items()}
        by_source = {MEAN_POSE: {name: _error(name, mean, batch) for name, mean in mean_pose.items()}}
        by_source |= {source: _errors(means, batch) for source, means in model.predictions(batch).items()}
        for source, (bound, terms) in model.bounds(batch).items():
            kl = total(term for name, term in terms.items() if name.startswith("kl"))
            by_source[source] |= {"kl": kl, "bound": bound}
        for source, batch_errors in by_source.items():
            for name, values in batch_errors.items():
                collected.setdefault(source, {}).setdefault(name, []).append(values.cpu())

    errors = {
        source: {name: torch.cat(values) for name, values in lists.items()} for source, lists in collected.items()
    }
    scores = {source: score_pose(values["pose"], root_joint) for source, values in errors.items() if "pose" in values}
    reference = scores[MEAN_POSE].epe
    report: dict[str, dict[str, Any]] = {}
    for source, by_name in errors.items():
        report[source] = {name: _mean(values) for name, values in by_name.items() if name != "pose"}
        if score := scores.get(source):
            report[source] |= {"epe": score.epe, "relative": score.epe / reference, "scores": score.as_json()}
    per_sample = {
        source: {name: _per_sample(values) for name, values in by_name.items()} for source, by_name in errors.items()
    }
    mean_pose = report.pop(MEAN_POSE)
    return Evaluation({"samples": scores[MEAN_POSE].samples, MEAN_POSE: mean_pose, "from": report}, scores, per_sample)


@torch.inference_mode()
def errors(model: Model, test: Iterable[dict[str, Tensor]], source: str = "image") -> dict[str, Tensor]:
    """Each sample's errors (N,) of everything that is decoded from one source, as in `evaluate`."""
    model.eval()
    batches = [_errors(model.predictions(batch)[source], batch) for batch in test]
    return {name: _per_sample(torch.cat([batch[name] for batch in batches])) for name in batches[0]}


def _errors(means: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The errors of all decodings of one source: of joints (B, 21) for poses, of samples (B,) for the rest."""
    errors = {name: _error(name, mean, batch) for name, mean in means.items()}
    if {"cpose", "viewpoint"} <= means.keys():
        pose = composed(means)
        errors["composed"] = joint_errors(pose, batch)
        if "pose" in means:
            errors["disagreement_mm"] = joint_errors(pose, {**batch, "pose": means["pose"]})
            errors["decoder_disagreement"] = decoder_disagreement(means)
        errors.setdefault("pose", errors["composed"])
    return errors


def _mean(values: Tensor) -> float:
    """The EPE of joints' errors (N, 21); the mean of samples' values (N,)."""
    return epe(values) if values.ndim == 2 else values.mean().item()


def _per_sample(values: Tensor) -> Tensor:
    """The mean over each sample's visible joints (N,); NaN where none is."""
    return values.nanmean(1) if values.ndim == 2 else values


def _error(name: str, mean: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """For pose and CPose (B, 21) in mm; for the viewpoint (B,) in degrees; for keypoints in half crops; for images the
    RMSE; for the content 1 if wrong, else 0.
    """
    truth = batch[name]
    if name in ("pose", "cpose"):
        return joint_errors(mean, {**batch, "pose": truth})
    if name == "viewpoint":
        return viewpoint_errors(mean.float(), truth)
    if name == "content":
        return (mean.argmax(-1) != truth).float()
    if name == "keypoints":
        return (mean - truth).norm(dim=-1).mean(-1)
    return (mean - truth).square().flatten(1).mean(1).sqrt()
