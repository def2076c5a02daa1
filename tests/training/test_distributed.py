"""Two processes compute what one would: statistics, noise, and whole trainings, however they are launched."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributions import Normal

from dvae_lib import settings
from dvae_lib.files import UserError
from dvae_lib.models.objectives import reparameterize
from dvae_lib.training import distributed
from dvae_lib.training.checkpoints import CHECKPOINT, read_metrics

pytestmark = pytest.mark.slow  # processes are started and killed


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 3), nn.BatchNorm2d(2))


def _images():
    torch.manual_seed(1)
    return 5 + torch.randn(8, 3, 10, 10)


def _one_of_two(rank: int, port: int, folder: Path) -> None:
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    network = distributed.convert_sync_batchnorm(_network())
    images = _images()[rank::2]
    loss = network(images).tanh().flatten(1).sum(1).mean()
    loss.backward()
    for parameter in network.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= 2
    torch.manual_seed(2)
    z = reparameterize(Normal(torch.full((4, 3), float(rank)), torch.ones(4, 3)))
    found = {"state": network.state_dict(), "gradients": [p.grad for p in network.parameters()], "z": z, "loss": loss}
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    torch.multiprocessing.spawn(_one_of_two, (_free_port(), folder), nprocs=2)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_shared_statistics_are_those_of_the_whole_batch(two):
    network = _network()
    loss = network(_images()).tanh().flatten(1).sum(1).mean()
    loss.backward()
    torch.testing.assert_close((two[0]["loss"] + two[1]["loss"]) / 2, loss.detach())
    for one in two:
        torch.testing.assert_close(one["state"], network.state_dict())
        torch.testing.assert_close(one["gradients"], [p.grad for p in network.parameters()], atol=1e-5, rtol=1e-4)


def test_the_noise_of_two_is_that_of_one(two):
    torch.manual_seed(2)
    noise = reparameterize(Normal(torch.zeros(8, 3), torch.ones(8, 3)))
    for rank, one in enumerate(two):
        torch.testing.assert_close(one["z"], noise[rank::2] + rank)


def test_alone_nothing_changes():
    torch.manual_seed(3)
    q = Normal(torch.randn(5, 2), torch.rand(5, 2) + 0.1)
    torch.manual_seed(4)
    expected = q.rsample()
    torch.manual_seed(4)
    assert torch.equal(reparameterize(q), expected)
    images, network = _images(), _network()
    assert torch.equal(distributed.convert_sync_batchnorm(_network())(images), network(images))


SETTINGS = ["--set", "precision=64-true", "--set", "steps=31", "--set", "lr=0.001"]


def _train(root: Path, name: str, how: str, processes: int = 2) -> list[dict]:
    """The metrics of an experiment, trained by so many processes of the command line."""
    command = ["-m", "dvae_lib", "train", name, "--device", "cpu", "--devices", str(processes), *SETTINGS]
    command += ["--set", "embedding_steps=21"] if name == "dvae-pose" else []
    environment = os.environ | {"DVAE_RUNS_ROOT": str(root), "OMP_NUM_THREADS": "1", "DVAE_PROFILE": "smoke"}
    if how == "torchrun":
        launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), f"--master-port={_free_port()}"]
        ranks = [([*launch, *command], environment)]
    elif how == "slurm":  # which starts each process itself, and tells it so
        job = {"SLURM_NTASKS": processes, "SLURM_NTASKS_PER_NODE": processes, "SLURM_NNODES": 1, "SLURM_NODEID": 0}
        job |= {"SLURM_JOB_ID": 1, "SLURM_JOB_NAME": "hands", "SLURM_NODELIST": "localhost"}
        job["MASTER_PORT"] = _free_port()
        own = ({"SLURM_PROCID": rank, "SLURM_LOCALID": rank} for rank in range(processes))
        ranks = [(command, environment | {k: str(v) for k, v in (job | rank).items()}) for rank in own]
    else:
        ranks = [(command, environment)]
    running = [
        subprocess.Popen([sys.executable, *arguments], env=env, cwd=settings.ROOT, stderr=subprocess.PIPE, text=True)
        for arguments, env in ranks
    ]
    for process in running:
        errors = process.communicate(timeout=300)[1]
        assert process.returncode == 0, errors
    (config,) = root.glob(f"smoke/{name}-*/config.json")
    assert json.loads(config.read_text())["steps"] == 31
    return read_metrics(config.parent)


@pytest.mark.parametrize(("name", "how"), [("cross-modal", "own"), ("dvae-pose", "torchrun"), ("dvae-pose", "slurm")])
def test_two_processes_have_the_loss_curve_of_one(tmp_path, name, how):
    alone, together = _train(tmp_path / "1", name, "own", 1), _train(tmp_path / "2", name, how)
    assert [line["step"] for line in together] == [line["step"] for line in alone] and len(alone) > 3
    for one, two in zip(alone, together, strict=True):
        assert two == pytest.approx(one, rel=1e-4, abs=1e-4)


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch, tmp_path):
    from dvae_lib.experiments.run import Run, find

    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    with pytest.raises(UserError, match="3 processes cannot share batches of 8"):
        Run(find("vae-pose", "smoke", "synthetic"), "smoke").training_batches("joint", rank=0, world=3)


def test_devices_that_are_not_here_are_said():
    with pytest.raises(UserError, match="Training on 1000 × “cuda” in 32-true is not possible here"):
        distributed.make_fabric("cuda", 1000)
    with pytest.raises(UserError, match="Training on 1 × “cpu” in 7-bit is not possible here"):
        distributed.make_fabric("cpu", precision="7-bit")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_processes_that_are_stopped_together_lose_nothing(tmp_path, how):
    """The terminal's Ctrl-C goes to all of them, as does the SIGTERM of a scheduler."""
    arguments = ["train", "vae-pose", "--device", "cpu", "--devices", "2", "--set", "steps=100000"]
    environment = os.environ | {"DVAE_RUNS_ROOT": str(tmp_path), "OMP_NUM_THREADS": "1", "DVAE_PROFILE": "smoke"}
    process = subprocess.Popen(
        [sys.executable, "-m", "dvae_lib", *arguments],
        env=environment,
        cwd=settings.ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # which a background job ignores
    )
    while not (logs := [*tmp_path.glob("smoke/*/metrics.jsonl")]) or len(read_metrics(logs[0].parent)) < 3:
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)
    os.killpg(process.pid, how)
    said = process.communicate(timeout=300)[0]  # until the last of them has ended
    kept = torch.load(logs[0].parent / CHECKPOINT, weights_only=True)["step"]
    assert kept == int(read_metrics(logs[0].parent)[-1]["step"]) + 1 and said.count(f"Stopped after step {kept}") == 1


@pytest.mark.parametrize(("has", "dtype"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bfloat16_is_taken_only_where_the_device_has_it(monkeypatch, has, dtype):
    monkeypatch.setattr(distributed, "has_bfloat16", lambda device: has)
    with distributed.make_fabric("cpu", precision="bf16-mixed").autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
