"""The loop: it learns, a killed run ends where the uninterrupted one does, and faults are said in sentences."""

from pathlib import Path

import numpy as np
import pytest
import torch

from dvae_lib.files import UserError
from dvae_lib.models import CrossModalVAE
from dvae_lib.models.fast import Adam
from dvae_lib.models.modalities import modality
from dvae_lib.models.saving import load_weights
from dvae_lib.training import learning_rate
from dvae_lib.training.checkpoints import CHECKPOINT, METRICS, WEIGHTS, read_metrics
from tests.helpers.batches import FakeDataset
from tests.helpers.training import fit, keypoints_and_pose, killed_at


def fit_until_killed(folder, at, monkeypatch, **options):
    with killed_at(at, monkeypatch):
        fit(folder, **options)


def test_the_loss_falls(tmp_path):
    fit(tmp_path, steps=300, lr=3e-3)
    losses = [line["loss"] for line in read_metrics(tmp_path)]
    assert losses[-1] < losses[0] - 5


@pytest.mark.parametrize("at", [1, 11])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, monkeypatch, at):
    whole = fit(tmp_path / "whole")
    fit_until_killed(tmp_path / "killed", at, monkeypatch)
    assert not (tmp_path / "killed" / WEIGHTS).exists()
    resumed = fit(tmp_path / "killed")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name
    assert (tmp_path / "killed" / METRICS).read_text() == (tmp_path / "whole" / METRICS).read_text()


def test_weights_survive_the_file(tmp_path):
    trained, loaded = fit(tmp_path), keypoints_and_pose()
    load_weights(loaded, tmp_path / WEIGHTS)
    assert all(
        torch.equal(a, b) for a, b in zip(trained.state_dict().values(), loaded.state_dict().values(), strict=True)
    )
    assert not (tmp_path / CHECKPOINT).exists()


def test_alternating_takes_one_source_a_step(tmp_path):
    fit(tmp_path, schedule="alternating", log_every=1)
    for line in read_metrics(tmp_path):
        source = ["keypoints", "pose"][line["step"] % 2]
        assert {name.split("→")[0] for name in line if "→" in name} == {source}


def test_nan_stops_and_keeps_the_last_good_state(tmp_path, monkeypatch):
    fit_until_killed(tmp_path, 9, monkeypatch)
    good = (tmp_path / CHECKPOINT).read_bytes()
    dataset = FakeDataset()
    dataset.arrays["pose"][:] = np.nan
    with pytest.raises(UserError, match=r"not a finite number at step 8.*checkpoint\.pt.*step 8, 8 of 8.*“pose”"):
        fit(tmp_path, dataset=dataset, log_every=1)
    assert (tmp_path / CHECKPOINT).read_bytes() == good


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_damaged_checkpoint_is_named(tmp_path, monkeypatch, content):
    fit_until_killed(tmp_path, 9, monkeypatch)
    path = tmp_path / CHECKPOINT
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(UserError, match="checkpoint.pt is damaged.*Delete it"):
        fit(tmp_path)


def test_a_checkpoint_cannot_run_code(tmp_path):
    class Hostile:
        def __reduce__(self):
            return open, (str(tmp_path / "owned"), "w")

    torch.save({"model": Hostile()}, tmp_path / CHECKPOINT)
    with pytest.raises(UserError, match="damaged"):
        fit(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_damaged_and_missing_weights_are_named(tmp_path):
    fit(tmp_path)
    path = tmp_path / WEIGHTS
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="weights.safetensors is damaged"):
        load_weights(keypoints_and_pose(), path)
    with pytest.raises(UserError, match="does not exist"):
        load_weights(keypoints_and_pose(), tmp_path / "elsewhere.safetensors")


def test_another_models_weights_are_refused(tmp_path):
    fit(tmp_path)
    other = CrossModalVAE([modality("pose", 64)], d=8)
    with pytest.raises(UserError, match="another model's weights"):
        load_weights(other, tmp_path / WEIGHTS)


def test_full_disk_while_saving_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    fit_until_killed(tmp_path, 5, monkeypatch)
    good = (tmp_path / CHECKPOINT).read_bytes()

    def full(path, content):
        path.open("wb").write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match="disk is full.*checkpoint.pt"):
        fit(tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == good
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_metrics_line_cut_short_is_dropped(tmp_path):
    (tmp_path / METRICS).write_text('{"step": 0, "loss": 1.0}\n{"step": 2, "lo')
    assert read_metrics(tmp_path) == [{"step": 0, "loss": 1.0}]


def test_adam_is_torchs_whatever_the_memorys_layout():
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(32, 2)) for _ in "ab"]
    networks[1].load_state_dict(networks[0].state_dict())
    networks[1].to(memory_format=torch.channels_last)
    optimizers = [torch.optim.Adam(networks[0].parameters(), lr=0.01), Adam(networks[1].parameters(), lr=0.01)]
    for _ in range(5):
        x = torch.randn(4, 3, 4, 4)
        for network, optimizer in zip(networks, optimizers, strict=True):
            optimizer.zero_grad()
            network(x).square().sum().backward()
            optimizer.step()
    for a, b in zip(*(network.parameters() for network in networks), strict=True):
        torch.testing.assert_close(a, b)
    assert networks[1][0].weight.is_contiguous(memory_format=torch.channels_last)


def test_learning_rate():
    assert [learning_rate(step, 10, 1e-4, decay=False) for step in (0, 9)] == [1e-4, 1e-4]
    rates = [learning_rate(step, 100, 1.0, decay=True) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == rates[5] == 1.0
    assert rates[-1] < 0.001 and all(a >= b for a, b in zip(rates[5:], rates[6:], strict=False))
