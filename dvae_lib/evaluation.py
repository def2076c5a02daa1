"""What a trained model is worth on held-out samples, as plain numbers (chapters 03, 04)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dvae_lib.hand import Root
from dvae_lib.metrics import PoseScores, joint_errors, score_pose
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.objectives import kl_to_prior


def mean_pose(batches: Iterable[dict[str, Tensor]]) -> Tensor:
    """The mean (21, 3) of the normalised poses: the best that can be said without looking at the image."""
    return torch.cat([batch["pose"] for batch in batches]).mean(0)


@torch.inference_mode()
def evaluate(
    model: CrossModalVAE, test: Iterable[dict[str, Tensor]], average: Tensor, root: Root
) -> tuple[dict, dict[str, PoseScores]]:
    """Every modality read from every encoder's mean, against the truth.

    average: the mean pose (21, 3) of the training samples; root: what joint 0 is in it and in the batches.

    Returns a report and the scores of the poses, those of "mean pose" and those read from each source. The report has
    for the mean pose and each source its end-point error in mm (`epe`), also as a share of the mean pose's
    (`relative`), and all else of `metrics.PoseScores` (`scores`); for keypoints the mean distance, where the crop
    spans 2; for images the root mean square error on [−1, 1]; the KL in nats, and the bound that training maximises
    (Eq. 1, one z a sample).
    """
    model.eval()
    torch.manual_seed(0)
    sources = list(model.encoders)
    errors: dict[str, list[Tensor]] = {"mean pose": []}
    scores: dict[str, dict[str, list[Tensor]]] = {source: {} for source in sources}
    for batch in test:
        errors["mean pose"].append(joint_errors(average.to(batch["pose"]).expand_as(batch["pose"]), batch))
        for source, (bound, _) in model.bounds(sources, batch).items():
            scores[source].setdefault("bound", []).append(bound)
            q = model.encode(source, batch[source])
            for target, mean in model.decode(q.mean).items():
                if target == "pose":
                    errors.setdefault(source, []).append(joint_errors(mean, batch))
                else:
                    scores[source].setdefault(target, []).append(_distance(target, mean, batch[target]))
            scores[source].setdefault("kl", []).append(kl_to_prior(q))

    return _report(errors, scores, root)


@torch.inference_mode()
def evaluate_dvae(
    model: DVAE, test: Iterable[dict[str, Tensor]], average: Tensor, root: Root
) -> tuple[dict, dict[str, PoseScores]]:
    """As `evaluate`, of a disentangled VAE: from its factors (“factors”) and from each embedding."""
    model.eval()
    torch.manual_seed(0)
    errors: dict[str, list[Tensor]] = {"mean pose": []}
    scores: dict[str, dict[str, list[Tensor]]] = {}
    for batch in test:
        errors["mean pose"].append(joint_errors(average.to(batch["pose"]).expand_as(batch["pose"]), batch))
        parts = model.encode(batch)
        sources = {"factors": (model.disentangling_bound(batch)[0], model.join({n: q.mean for n, q in parts.items()}))}
        for name in model.embedders:
            sources[name] = model.embedding_bound(name, batch)[0], model.embed(name, batch[name]).mean
        for source, (bound, z) in sources.items():
            entry = scores.setdefault(source, {})
            entry.setdefault("bound", []).append(bound)
            for target, mean in model.decode(z).items():
                if target == "pose":
                    errors.setdefault(source, []).append(joint_errors(mean, batch))
                else:
                    entry.setdefault(target, []).append(_distance(target, mean, batch[target]))
    return _report(errors, scores, root)


def _report(
    errors: dict[str, list[Tensor]], scores: dict[str, dict[str, list[Tensor]]], root: Root
) -> tuple[dict, dict[str, PoseScores]]:
    poses = {name: score_pose(torch.cat(parts), root) for name, parts in errors.items() if parts}
    base = poses["mean pose"]
    report = {"samples": base.samples, "mean pose": {"epe": base.epe, "scores": base.as_json()}, "from": {}}
    for source, measured in scores.items():
        entry = {target: torch.cat(parts).mean().item() for target, parts in measured.items()}
        if found := poses.get(source):
            entry |= {"epe": found.epe, "relative": found.epe / base.epe, "scores": found.as_json()}
        report["from"][source] = entry
    return report, poses


def _distance(target: str, mean: Tensor, truth: Tensor) -> Tensor:
    """Per sample (B,): the mean distance of keypoints, in units where the crop spans 2, or an image's RMSE."""
    if target == "keypoints":
        return (mean - truth).norm(dim=-1).mean(-1)
    return (mean - truth).square().flatten(1).mean(1).sqrt()
