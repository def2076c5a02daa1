"""Faults that are really made: processes killed and interrupted, full and read-only disks, memory that runs out."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import filelock
import numpy as np
import pytest
import torch
from jupyter_client.manager import start_new_kernel
from lightning_fabric import Fabric

from dvae_lib import settings
from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.datasets.batches import Batches
from dvae_lib.experiments import find
from dvae_lib.experiments import run as runs_module
from dvae_lib.experiments.run import EVALUATION, Run, load_or_train
from dvae_lib.files import UserError, write_json
from dvae_lib.models import DVAE
from dvae_lib.models.modalities import modality
from dvae_lib.models.saving import save_weights
from dvae_lib.training import algorithm_2, train
from dvae_lib.training.checkpoints import CHECKPOINT, METRICS, WEIGHTS, read_metrics
from dvae_lib.training.interruption import Interruption
from tests.helpers.batches import SIZE, FakeDataset
from tests.helpers.training import fit

pytestmark = pytest.mark.slow  # processes are started and killed


def train_hands(folder: Path) -> None:
    """Algorithm 2 on images, 60 steps and 30: what a process of its own is made to do here."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    image, pose = modality("image", SIZE), modality("pose", SIZE)
    model = DVAE([(pose, 8)], [image], ("image", 8), [image])
    data = FakeDataset()
    batches = Batches([(data, np.arange(len(data)))], 8, ["image"], Augmentation(rotation=30.0, colour=0.2), seed=3)
    fabric = Fabric(accelerator="cpu", devices=1, precision="bf16-mixed")
    stages = [(stage, batches) for stage in algorithm_2(60, 1, 30)]
    train(model, stages, folder, fabric, lr=1e-3, decay=True, seed=3, save_every=5, save_seconds=0, log_every=1)


def _start(folder: Path) -> subprocess.Popen:
    heed = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # ignored in background jobs
    program = f"{heed}; from tests.training.test_faults import train_hands, Path; train_hands(Path({str(folder)!r}))"
    return subprocess.Popen([sys.executable, "-c", program], cwd=settings.ROOT, stderr=subprocess.DEVNULL)


def _steps(folder: Path) -> int:
    lines = read_metrics(folder)
    return int(lines[-1]["step"]) + 1 if lines else 0


def test_a_run_killed_again_and_again_ends_with_the_same_weights(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    whole.mkdir(), broken.mkdir()
    assert _start(whole).wait() == 0
    chance, reached = random.Random(), 0
    ways = [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGKILL]
    stops = sorted(chance.sample(range(1, 60), len(ways)))
    for stop, how in zip(stops, ways, strict=True):
        process = _start(broken)
        while _steps(broken) < stop and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(how)
        assert process.wait() != 0 and not (broken / WEIGHTS).exists(), stops
        if how != signal.SIGKILL:  # asked to stop, it loses nothing
            kept = torch.load(broken / CHECKPOINT, weights_only=True)["step"]
            assert kept == _steps(broken) >= stop > reached, stops
        reached = stop
    assert _start(broken).wait() == 0
    assert (broken / WEIGHTS).read_bytes() == (whole / WEIGHTS).read_bytes(), stops
    assert (broken / METRICS).read_text() == (whole / METRICS).read_text(), stops
    assert sorted(path.name for path in broken.iterdir()) == sorted(path.name for path in whole.iterdir())


@contextlib.contextmanager
def files_of_at_most(size: int):
    """No file of this process can grow past `size` bytes: what a full disk does, without filling one."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("size", "which"), [(100, METRICS), (60_000, CHECKPOINT)])
def test_a_full_disk_is_said_and_nothing_is_lost(tmp_path, size, which):
    with files_of_at_most(size), pytest.raises(UserError, match=f"disk is full.*{which}"):
        fit(tmp_path, quiet=True)  # a progress bar would write to the file that takes down what tests print
    assert not (tmp_path / WEIGHTS).exists() and not list(tmp_path.glob(".*"))
    resumed, whole = fit(tmp_path), fit(tmp_path / "whole")
    assert all(torch.equal(a, b) for a, b in zip(resumed.parameters(), whole.parameters(), strict=True))


def test_weights_that_find_no_space_leave_the_old(tmp_path):
    path, network = tmp_path / WEIGHTS, torch.nn.Linear(100, 100)
    save_weights(network, path)
    old = path.read_bytes()
    with files_of_at_most(10_000), pytest.raises(UserError, match=r"disk is full.*weights\.safetensors"):
        save_weights(torch.nn.Linear(100, 100), path)
    assert path.read_bytes() == old


@contextlib.contextmanager
def read_only(folder: Path):
    """A folder that nobody may write to; for a while we are nobody, whom it would not hold if we were root."""
    root = os.geteuid() == 0
    folder.chmod(0o555)
    mine = [parent for parent in folder.parents if Path(tempfile.gettempdir()) in parent.parents]
    for parent in mine if root else ():
        parent.chmod(parent.stat().st_mode | 0o055)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_a_read_only_folder_is_said(tmp_path, monkeypatch):
    run = Run(find("vae-pose", "smoke", "synthetic"), "smoke")
    run.subsets("train")  # prepared while that may be written
    (tmp_path / "runs").mkdir()
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / "runs"))
    with read_only(tmp_path / "runs"), pytest.raises(UserError, match="cannot be read or written.*DVAE_RUNS_ROOT"):
        run.train("cpu")
    run.train("cpu")
    assert run.trained


def test_who_comes_second_waits_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    run = Run(find("vae-pose", "smoke", "synthetic"), "smoke")
    run.folder.mkdir(parents=True)
    with filelock.FileLock(run.folder / ".lock"):
        command = [sys.executable, "-m", "dvae_lib", "train", "vae-pose", "--device", "cpu"]
        plain = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        second = subprocess.Popen(
            command, cwd=settings.ROOT, env=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert any(b"Another process is training vae-pose: waiting for it." in line for line in second.stdout)
        assert not run.trained
    second.communicate()
    assert second.returncode == 0 and run.trained


def test_an_evaluation_of_another_version_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    run = load_or_train("vae-pose")
    ours = run.evaluation
    write_json(run.folder / EVALUATION, {"format": 0, "left": "over"})
    assert not run.trained
    monkeypatch.setattr(runs_module, "train", lambda *_, **__: 1 / 0)
    assert load_or_train("vae-pose").evaluation == ours


def test_weights_of_another_version_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    run = load_or_train("vae-pose")
    save_weights(torch.nn.Linear(2, 2), run.folder / WEIGHTS)
    with pytest.raises(UserError, match=f"another model's weights.*Delete the folder {run.folder}"):
        run.load()


def test_nan_in_the_data_is_traced_to_its_batch(tmp_path):
    data = FakeDataset()
    data.arrays["pose"][7, 3] = np.nan  # every fifth step sees it
    with pytest.raises(UserError, match=r"In the batch of step (\d), 1 of 8 samples have NaN or infinity in “pose”"):
        fit(tmp_path, dataset=data, log_every=10)
    assert not (tmp_path / WEIGHTS).exists()


def test_a_weight_that_is_no_number_is_not_kept(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="The loss.*lower the learning rate|A weight was not a finite number") as found:
        fit(tmp_path, lr=1e30, decay=False)
    assert "good state" not in str(found.value)  # there is none
    assert not (tmp_path / WEIGHTS).exists() and not (tmp_path / CHECKPOINT).exists()


def test_memory_that_runs_out_is_said(tmp_path, monkeypatch):
    def greedy(self, step):
        return torch.empty(1 << 50)

    monkeypatch.setattr(Batches, "batch", greedy)
    with pytest.raises(UserError, match=r"Memory ran out at step 0 .*--set batch=16"):
        fit(tmp_path)


def test_what_only_names_memory_is_another_error(tmp_path, monkeypatch):
    def broken(self, step):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(Batches, "batch", broken)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        fit(tmp_path)


def test_ctrl_c_in_the_last_step_is_heeded(tmp_path, monkeypatch):
    original = Batches.batch

    def interrupted(self, step):
        if step == 11:
            signal.raise_signal(signal.SIGINT)
        return original(self, step)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in background jobs
    monkeypatch.setattr(Batches, "batch", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, steps=12)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / WEIGHTS).exists() and not (tmp_path / CHECKPOINT).exists()


def test_only_a_second_ctrl_c_does_not_wait():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), Interruption(Fabric(accelerator="cpu", devices=1)) as interruption:
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
            assert interruption.heard == signal.SIGINT and interruption.requested(True)
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)


def test_what_is_heard_while_processes_agree_is_not_forgotten():
    class Two(Fabric):
        world_size = 2

        def all_reduce(self, data, **_):
            signal.raise_signal(signal.SIGTERM)  # after this process has said that it heard nothing
            return data

    with Interruption(Two(accelerator="cpu", devices=1)) as interruption:
        assert not interruption.requested(True) and interruption.requested(True)


def test_a_notebook_s_stop_button_loses_nothing(tmp_path):
    folder = str(tmp_path)
    manager, client = start_new_kernel(cwd=str(settings.ROOT))
    code = f"from tests.training.test_faults import train_hands, Path; train_hands(Path({folder!r}))"
    try:
        client.execute(code)
        while _steps(tmp_path) < 3:
            time.sleep(0.001)
        manager.interrupt_kernel()
        answer = client.get_shell_msg(timeout=60)["content"]
        assert answer["ename"] == "KeyboardInterrupt"
        kept = torch.load(tmp_path / CHECKPOINT, weights_only=True)["step"]
        assert kept == _steps(tmp_path) >= 3
        client.execute(code)
        assert client.get_shell_msg(timeout=120)["content"]["status"] == "ok"
        assert [line["step"] for line in read_metrics(tmp_path)] == list(range(90))
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
