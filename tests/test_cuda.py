"""What differs on a GPU: numbers, against the CPU's; batches that are made there; trainings that are killed there."""

import copy

import numpy as np
import pytest
import torch

from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.datasets.batches import Batches
from dvae_lib.experiments import find
from dvae_lib.experiments.run import Run
from dvae_lib.models import CrossModalVAE, Regressor
from dvae_lib.models.modalities import modality
from dvae_lib.training.checkpoints import METRICS
from tests.helpers.batches import TaggedDataset
from tests.helpers.models import SIZE, labelled, three, with_u
from tests.helpers.training import killed_at

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
EVERYTHING = Augmentation(rotation=180.0, flip=True, zoom=0.3, shift=0.1, colour=0.3, background=0.5)


@pytest.fixture(autouse=True)
def exact():
    """Convolutions in float32 and not TF32, as torch multiplies matrices anyhow, and the same each time."""
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield


def masked_dataset():
    dataset = TaggedDataset()
    dataset.arrays["mask"] = (dataset.arrays["depth"][:, :32, :32] % 4).astype(np.uint8)
    return dataset


def batches(device, **options):
    names = ("image", "hand", "tag")
    return Batches([(masked_dataset(), np.arange(48))], 12, names, EVERYTHING, device=device, **options)


def cross_modal():
    torch.manual_seed(1)
    return CrossModalVAE([modality(name, SIZE) for name in ("image", "keypoints", "pose")], 8, 0.1)


def regressor():
    torch.manual_seed(1)
    return Regressor([modality("cpose", SIZE), modality("viewpoint", SIZE)], 8)


@pytest.mark.parametrize("resident", [True, False])
def test_a_batch_is_that_of_the_cpu(resident):
    ours, theirs = batches("cuda", resident=resident).batch(5), batches("cpu").batch(5)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        assert ours[name].device.type == "cuda", name
        torch.testing.assert_close(ours[name].cpu().float(), values.float(), atol=2e-3, rtol=1e-4, msg=name)


def test_samples_that_fit_lie_on_the_device():
    assert batches("cuda")._resident and not batches("cpu")._resident


@pytest.mark.parametrize(
    ("make", "asked"),
    [
        (cross_modal, ["image", "keypoints", "pose"]),
        (regressor, None),
        *((make, step) for make in (labelled, three) for step in ("disentangling", "embedding", "joint")),
        *((with_u, step) for step in ("disentangling", "independence", "embedding")),
        (lambda: with_u(shared=True), "disentangling"),
    ],
)
def test_loss_and_gradients_are_those_of_the_cpu(make, asked, monkeypatch):
    """The noise is drawn on the CPU in both cases."""
    draw, batch = torch.randn, batches("cpu").batch(0)
    monkeypatch.setattr(torch, "randn", lambda *shape, device=None, **options: draw(*shape, **options).to(device))
    results = []
    for device in ("cpu", "cuda"):
        model = make().to(device)
        torch.manual_seed(0)
        loss, _ = model({name: values.to(device) for name, values in batch.items()}, asked)
        loss.backward()
        gradients = [p.grad.flatten().cpu().double() for p in model.parameters() if p.grad is not None]
        results.append((loss.item(), torch.cat(gradients)))
    (loss, gradient), (loss_there, gradient_there) = results
    assert loss_there == pytest.approx(loss, rel=1e-3)
    assert (gradient_there - gradient).norm() < 1e-3 * gradient.norm()


def trained(folder, monkeypatch, name, killed=None):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(folder))
    run = Run(find(name, "smoke", "synthetic"), "smoke")
    if killed is not None:
        with killed_at(killed, monkeypatch):
            run.train("cuda", quiet=True)
    run.train("cuda", quiet=True)
    return Run.open(run.folder)  # which stays where it is


@pytest.mark.parametrize("name", ["dvae-zu", "dvae-pose", "cross-modal"])
def test_two_runs_and_one_that_was_killed_are_alike(tmp_path, monkeypatch, name):
    first, second = (trained(tmp_path / str(i), monkeypatch, name) for i in range(2))
    weights = copy.deepcopy(first.load().state_dict())
    killed = trained(tmp_path / "killed", monkeypatch, name, killed=3)
    for other in (second, killed):
        assert (other.folder / METRICS).read_text() == (first.folder / METRICS).read_text()
        for key, tensor in other.load().state_dict().items():
            assert torch.equal(tensor, weights[key]), key


def test_evaluation_is_that_of_the_cpu(tmp_path, monkeypatch):
    run = trained(tmp_path, monkeypatch, "dvae-pose")
    there = {source: dict(values) for source, values in run.evaluation["from"].items()}
    run._evaluate(torch.device("cpu"))
    for source, values in run.evaluation["from"].items():
        for name in ("epe", "cpose", "viewpoint", "kl"):
            assert there[source][name] == pytest.approx(values[name], rel=1e-3), (source, name)
