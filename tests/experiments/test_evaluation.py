"""What evaluation says of every reading, and labels that are not all known."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from dvae_lib.datasets.batches import LABELS, Batches, Subset
from dvae_lib.experiments import find
from dvae_lib.experiments.evaluation import composed, errors, evaluate, mean_labels
from dvae_lib.experiments.run import Run
from dvae_lib.hand.canonical import canonicalise, compose
from dvae_lib.metrics import epe, joint_errors
from dvae_lib.models import DVAE
from dvae_lib.models.modalities import modality
from dvae_lib.models.regressors import Regressor
from tests.helpers.batches import FakeDataset

SIZE = 32


def pose_dvae():
    torch.manual_seed(1)
    factors = [(modality("cpose", SIZE, 0.3), 6), (modality("viewpoint", SIZE, 0.2), 3)]
    return DVAE(factors, [modality("pose", SIZE)], embeddings=[modality("keypoints", SIZE)], beta=0.1)


@pytest.fixture
def batch():
    return Batches([(FakeDataset(), np.arange(12))], 12, ["image"]).batch(0)


class Fixed(Regressor):
    """Not a model: its predictions are given."""

    def __init__(self, means):
        torch.nn.Module.__init__(self)
        self.means = means

    def predictions(self, batch):
        return {"image": dict(self.means)}


def evaluation(batch, **means):
    return evaluate(Fixed(means), [batch], mean_labels([batch]), "palm")


def report(batch, **means):
    return evaluation(batch, **means).report["from"]["image"]


def test_the_truth_has_no_error(batch):
    scores = report(batch, **{name: batch[name] for name in LABELS})
    for name in ("epe", "cpose", "viewpoint", "composed", "disagreement_mm", "decoder_disagreement"):
        assert scores[name] == pytest.approx(0, abs=0.05), name


def test_a_turned_viewpoint_is_wrong_by_its_angle(batch):
    turn = torch.from_numpy(Rotation.from_euler("z", 10, degrees=True).as_matrix()).float()
    viewpoint = batch["viewpoint"] @ turn
    scores = report(batch, cpose=batch["cpose"], viewpoint=3 * viewpoint, pose=batch["pose"])
    assert scores["viewpoint"] == pytest.approx(10, abs=1e-2)
    assert scores["cpose"] == pytest.approx(0, abs=1e-3) and scores["epe"] == pytest.approx(0, abs=1e-3)
    moved = (batch["cpose"] @ viewpoint - batch["pose"]).norm(dim=-1) * batch["scale"][:, None]
    expected = epe(moved.masked_fill(~batch["visible"], torch.nan))
    assert scores["composed"] == pytest.approx(expected, rel=1e-3)
    assert scores["disagreement_mm"] == pytest.approx(expected, rel=1e-3)


def test_errors_of_single_samples_are_what_the_report_averages(batch):
    """Joints are all visible here, so that the mean over samples is the EPE."""
    batch = batch | {"visible": torch.ones_like(batch["visible"])}
    torch.manual_seed(0)
    means = {name: batch[name] + 0.1 * torch.randn_like(batch[name]) for name in LABELS}
    evaluated = evaluation(batch, **means)
    per_sample, report = evaluated.errors["image"], evaluated.report["from"]["image"]
    alone = errors(Fixed(means), [batch])
    assert alone.keys() == per_sample.keys() and all(torch.equal(alone[name], per_sample[name]) for name in alone)
    for name, key in {"pose": "epe", "composed": "composed", "cpose": "cpose", "viewpoint": "viewpoint"}.items():
        assert per_sample[name].shape == (12,)
        assert per_sample[name].mean().item() == pytest.approx(report[key], rel=1e-4)


def test_the_mean_labels_are_measured_like_the_others(batch):
    evaluated = evaluation(batch, **{name: batch[name].mean(0).expand_as(batch[name]) for name in LABELS})
    errors, report = evaluated.errors, evaluated.report
    for name in LABELS:
        assert torch.equal(errors["mean pose"][name], errors["image"][name])
    assert report["mean pose"]["epe"] == report["from"]["image"]["epe"]
    assert report["from"]["image"]["relative"] == 1


def test_without_a_pose_the_composed_one_is_scored(batch):
    cpose = batch["cpose"] + 0.1
    scores = report(batch, cpose=cpose, viewpoint=batch["viewpoint"])
    expected = epe(joint_errors(compose(cpose, batch["viewpoint"]), batch))
    assert scores["epe"] == pytest.approx(expected, rel=1e-4) and "disagreement_mm" not in scores
    moved = (cpose - batch["cpose"]).norm(dim=-1) * batch["scale"][:, None]
    assert scores["cpose"] == pytest.approx(epe(moved.masked_fill(~batch["visible"], torch.nan)), rel=1e-4)


def test_a_composed_pose_is_the_pose():
    pose = torch.randn(20, 21, 3)
    cpose, viewpoint = canonicalise(pose)
    means = {"cpose": cpose, "viewpoint": 2.5 * viewpoint}
    torch.testing.assert_close(composed(means), pose - pose[:, :1], atol=1e-4, rtol=1e-4)


# Labels that are not all known.


def mixed_batch(known=("viewpoint",)):
    subsets = [Subset(FakeDataset(), np.arange(10)), Subset(FakeDataset(40, 1), np.arange(40), known)]
    return Batches(subsets, 8, []).batch(0)


def test_a_batch_says_what_is_known():
    batch = mixed_batch()
    for name in ("pose", "cpose"):
        assert batch[f"{name} known"].tolist() == [True] * 4 + [False] * 4
    assert "viewpoint known" not in batch
    assert not any("known" in name for name in mixed_batch(LABELS))
    assert mixed_batch(())["viewpoint known"].tolist() == [True] * 4 + [False] * 4


def test_weak_samples_teach_the_viewpoint_and_nothing_else():
    """The bound of a sample is that of its known labels, and what is not known has no influence."""
    model, batch = pose_dvae().eval(), mixed_batch()
    torch.manual_seed(2)
    bound, _ = model.embedding_bound("keypoints", batch)
    torch.manual_seed(2)
    whole, terms = model.embedding_bound("keypoints", {k: v for k, v in batch.items() if "known" not in k})
    torch.testing.assert_close(bound[:4], whole[:4])
    torch.testing.assert_close(bound[4:], (0.2 * terms["viewpoint"] - 0.1 * terms["kl"])[4:])

    gradients = []
    for name in ("pose", "cpose", "viewpoint"):
        changed = batch | {name: torch.cat([batch[name][:4], batch[name][4:] + 1.0])}
        model.zero_grad()
        torch.manual_seed(2)
        model(changed, "embedding")[0].backward()
        gradients.append(model.embedding_encoders["keypoints"].head.linear.weight.grad.clone())
    assert torch.equal(gradients[0], gradients[1]) and not torch.equal(gradients[0], gradients[2])


def indices(run, stage):
    return [(len(subset.indices), tuple(subset.known)) for subset in run.training_batches(stage).subsets]


def test_each_kind_of_supervision_sees_its_samples():
    """Sec. 4.4: the first m % have labels; what else is used, and in which step."""
    all_, weak = LABELS, ("viewpoint",)
    n = len(Run(find("dvae-pose-rhd", "smoke", "synthetic"), "smoke").subsets("train")[0][1])
    runs = {kind: Run(find(f"{kind}-25", "smoke", "synthetic"), "smoke") for kind in ("labelled", "semi", "weak")}
    quarter = round(n / 4)
    assert {kind: indices(run, "disentangling") for kind, run in runs.items()} == {
        "labelled": [(quarter, all_)],
        "semi": [(n, all_)],
        "weak": [(quarter, all_)],
    }
    assert {kind: indices(run, "embedding") for kind, run in runs.items()} == {
        "labelled": [(quarter, all_)],
        "semi": [(quarter, all_)],
        "weak": [(quarter, all_), (n - quarter, weak)],
    }
    assert {run.training_batches("embedding").batch_size for run in runs.values()} == {8}  # nobody sees more images
    first = runs["labelled"].training_batches("embedding").subsets[0].indices
    assert np.array_equal(first, runs["labelled"].subsets("train")[0][1][:quarter])
    assert "image" not in runs["semi"].training_batches("disentangling").batch(0)


def test_no_image_is_decoded_where_none_is_asked_for():
    model = Run(find("cross-modal-rhd", "smoke", "synthetic"), "smoke").build()
    assert list(model.encoders) == ["image", "keypoints", "pose"] and list(model.decoders) == ["keypoints", "pose"]
    assert model.lambdas == {"keypoints": 1.0, "pose": 1.0}  # for 256 pixels, as nothing of another size is decoded
