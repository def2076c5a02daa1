"""What a trained model is worth on held-out samples, as plain numbers (chapters 03 to 07)."""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from dvae_lib.canonical import compose, project_to_rotation
from dvae_lib.hand import Root
from dvae_lib.metrics import PoseScores, epe, joint_errors, score_pose, viewpoint_errors
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.regressors import Regressor

Model = CrossModalVAE | DVAE | Regressor


def mean_pose(batches: Iterable[dict[str, Tensor]]) -> Tensor:
    """The mean (21, 3) of the normalised poses: the best that can be said without looking at the image."""
    return torch.cat([batch["pose"] for batch in batches]).mean(0)


def composed(means: Mapping[str, Tensor]) -> Tensor:
    """The pose (B, 21, 3) that the decoded CPose and viewpoint make, the latter read as the nearest rotation."""
    return compose(means["cpose"], project_to_rotation(means["viewpoint"].float()))


@torch.inference_mode()
def evaluate(
    model: Model, test: Iterable[dict[str, Tensor]], average: Tensor, root: Root
) -> tuple[dict, dict[str, PoseScores]]:
    """All that is read from every source, against the truth: from each encoder's mean; of a dVAE also from “factors”.

    average: the mean pose (21, 3) of the training samples; root: what joint 0 is in it and in the batches.

    Returns a report and the scores of the 3D poses, those of "mean pose" and those read from each source. The report
    has for the mean pose and each source its end-point error in mm (`epe`), also as a share of the mean pose's
    (`relative`), and all else of `metrics.PoseScores` (`scores`); for CPose the EPE in mm; for the viewpoint the mean
    angle in degrees; where both are decoded the EPE of the pose `composed` of them, which is `epe` too if no pose is
    decoded, and how far `apart` it is from the one decoded, in mm; for keypoints the mean distance, where the crop
    spans 2; for images the root mean square error on [−1, 1]; of a VAE the KL in nats, and the bound that training
    maximises, one z a sample.
    """
    model.eval()
    torch.manual_seed(0)
    poses: dict[str, list[Tensor]] = {"mean pose": []}
    measured: dict[str, dict[str, list[Tensor]]] = {}
    for batch in test:
        poses["mean pose"].append(joint_errors(average.to(batch["pose"]).expand_as(batch["pose"]), batch))
        bounds = model.bounds(batch)
        for source, means in model.read(batch).items():
            entry = measured.setdefault(source, {})
            if "cpose" in means:
                together = composed(means)
                entry.setdefault("composed", []).append(joint_errors(together, batch))
                if "pose" in means:
                    entry.setdefault("apart", []).append(joint_errors(together, batch | {"pose": means["pose"]}))
                means.setdefault("pose", together)
            for name, mean in means.items():
                if name == "pose":
                    poses.setdefault(source, []).append(joint_errors(mean, batch))
                else:
                    entry.setdefault(name, []).append(_error(name, mean, batch))
            if source in bounds:
                bound, terms = bounds[source]
                kl = sum(term for name, term in terms.items() if name.startswith("kl"))
                entry.setdefault("kl", []).append(kl)
                entry.setdefault("bound", []).append(bound)

    found = {name: score_pose(torch.cat(parts), root) for name, parts in poses.items()}
    base = found["mean pose"]
    report = {"samples": base.samples, "mean pose": {"epe": base.epe, "scores": base.as_json()}, "from": {}}
    for source, entry in measured.items():
        report["from"][source] = {name: _mean(torch.cat(parts)) for name, parts in entry.items()}
        if scores := found.get(source):
            own = {"epe": scores.epe, "relative": scores.epe / base.epe, "scores": scores.as_json()}
            report["from"][source] |= own
    return report, found


@torch.inference_mode()
def errors(model: Model, test: Iterable[dict[str, Tensor]], source: str = "image") -> dict[str, Tensor]:
    """Each sample's error (N,) of what is read from one source, as `metrics.interval` wants it: in mm over its visible
    joints of the 3D “pose” and, where they are decoded, the “composed” one and “cpose”; in degrees of the “viewpoint”.
    """
    model.eval()
    found: dict[str, list[Tensor]] = {}
    for batch in test:
        means = model.read(batch)[source]
        if "cpose" in means:
            means["composed"] = composed(means)
            means.setdefault("pose", means["composed"])
        for name in ("pose", "composed", "cpose"):
            if name in means:
                truth = batch["cpose" if name == "cpose" else "pose"]
                found.setdefault(name, []).append(joint_errors(means[name], {**batch, "pose": truth}).nanmean(1))
        if "viewpoint" in means:
            found.setdefault("viewpoint", []).append(_error("viewpoint", means["viewpoint"], batch))
    return {name: torch.cat(parts) for name, parts in found.items()}


def _mean(values: Tensor) -> float:
    """The EPE of joints' errors (N, 21); the mean of what is one number a sample."""
    return epe(values) if values.ndim == 2 else values.mean().item()


def _error(name: str, mean: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """In mm for CPose, degrees for the viewpoint, halves of the crop for keypoints; an image's RMSE."""
    truth = batch[name]
    if name == "cpose":
        return joint_errors(mean, {**batch, "pose": truth})
    if name == "viewpoint":
        return viewpoint_errors(mean.float(), truth)
    if name == "keypoints":
        return (mean - truth).norm(dim=-1).mean(-1)
    return (mean - truth).square().flatten(1).mean(1).sqrt()
