"""What a trained cross-modal VAE is worth on held-out samples, as plain numbers (chapter 03)."""

from collections.abc import Iterable

import torch
from torch import Tensor

from dvae_lib.metrics import epe, joint_errors
from dvae_lib.models import CrossModalVAE
from dvae_lib.objectives import kl_to_prior


def mean_pose(batches: Iterable[dict[str, Tensor]]) -> Tensor:
    """The mean (21, 3) of the normalised poses: the best that can be said without looking at the image."""
    return torch.cat([batch["pose"] for batch in batches]).mean(0)


@torch.inference_mode()
def evaluate(model: CrossModalVAE, test: Iterable[dict[str, Tensor]], average: Tensor) -> dict:
    """Every modality read from every encoder's mean, against the truth.

    average: the mean pose (21, 3) of the training samples.

    Returns "mean pose", and for each source, in millimetres, its end-point error (`epe`), also as a share of the mean
    pose's (`relative`) and per joint; for keypoints the mean distance, where the crop spans 2; for images the root
    mean square error on [−1, 1]; the KL in nats, and the bound that training maximises (Eq. 1, one z a sample).
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

    joined = {name: torch.cat(parts) for name, parts in errors.items() if parts}
    base = epe(joined["mean pose"])
    report = {"samples": len(joined["mean pose"]), "mean pose": {"epe": base}, "from": {}}
    for source in sources:
        entry = {target: torch.cat(parts).mean().item() for target, parts in scores[source].items()}
        if source in joined:
            value = epe(joined[source])
            entry |= {
                "epe": value,
                "relative": value / base,
                "epe per joint": joined[source].nanmean(0).tolist(),
            }
        report["from"][source] = entry
    return report


def _distance(target: str, mean: Tensor, truth: Tensor) -> Tensor:
    """Per sample (B,): the mean distance of keypoints, in units where the crop spans 2, or an image's RMSE."""
    if target == "keypoints":
        return (mean - truth).norm(dim=-1).mean(-1)
    return (mean - truth).square().flatten(1).mean(1).sqrt()
