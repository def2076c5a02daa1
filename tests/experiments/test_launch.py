"""Runs trained several at a time."""

import functools
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from dvae_lib import settings
from dvae_lib.experiments import find, launch
from dvae_lib.experiments.launch import pixels, train_all
from dvae_lib.experiments.run import Run
from dvae_lib.files import UserError
from dvae_lib.training.checkpoints import CHECKPOINT, WEIGHTS, read_metrics

pytestmark = pytest.mark.slow  # processes are started and killed
NAMES = ("vae-pose", "cross-modal", "two-stream")


def _runs():
    """In double precision, so that what other numbers of threads round otherwise stays small."""
    return [Run(find(name, "smoke", "synthetic").with_overrides(precision="64-true"), "smoke") for name in NAMES]


def test_runs_trained_side_by_side_are_those_trained_alone(tmp_path, monkeypatch):
    weights = {}
    for jobs in (1, 2):
        monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / str(jobs)))
        done = list(train_all(_runs(), "cpu", jobs))
        assert sorted(run.experiment.name for run in done) == sorted(NAMES) and all(run.trained for run in done)
        weights[jobs] = [load_file(run.folder / WEIGHTS) for run in _runs()]
    for alone, together in zip(weights[1], weights[2], strict=True):
        for name, values in alone.items():
            torch.testing.assert_close(together[name], values, atol=1e-5, rtol=1e-5)
    assert [run.experiment.name for run in train_all(_runs(), "cpu", 2)] == list(NAMES)  # nothing left to do


@pytest.mark.parametrize("launcher", ["local", "ray"])
def test_a_run_that_fails_says_so(tmp_path, monkeypatch, launcher):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    first = _runs()[0]
    first.folder.mkdir(parents=True)
    (first.folder / CHECKPOINT).write_bytes(b"no checkpoint")
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(UserError, match="is damaged"):
        list(train_all(_runs(), "cpu", 2, launcher))
    assert signal.getsignal(signal.SIGTERM) is handler


def test_the_pixels_of_a_run_are_those_of_its_batches():
    run = Run(find("dvae-pose", "smoke", "synthetic"), "smoke")  # 4 steps without images, 2 with; 8 of 32 pixels square
    assert pixels(run) == 4 * 8 * 32 + 2 * 8 * 32**2
    assert pixels(run, 3) == 3 * 8 * 32 and pixels(run, 5) == 4 * 8 * 32 + 8 * 32**2


def _killed_once(flag, run, device):
    """Trains, but the first worker that comes here is killed in the middle of it, as when its machine fails."""
    if not flag.exists():
        flag.touch()
        run.folder.mkdir(parents=True)
        (run.folder / "left behind").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return launch._train(run, device)


def test_a_killed_worker_is_said_and_the_rest_can_be_continued(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    with monkeypatch.context() as patch, pytest.raises(UserError, match="A training run was killed.*--jobs 1"):
        patch.setattr(launch, "_train", functools.partial(_killed_once, tmp_path / "killed"))
        list(train_all(_runs(), "cpu", 2))
    assert len(list(train_all(_runs(), "cpu", 2))) == len(NAMES)


UNGUARDED = """
from dvae_lib.experiments import train_all
from tests.experiments.test_launch import _runs

list(train_all(_runs(), "cpu", 2))
"""


def test_a_script_without_a_main_guard_is_told_of_it(tmp_path):
    """… and not that memory has run out; what its workers run into is not said beside it."""
    (tmp_path / "script.py").write_text(UNGUARDED)
    environment = os.environ | {"DVAE_RUNS_ROOT": str(tmp_path), "PYTHONPATH": str(settings.ROOT)}
    command = [sys.executable, tmp_path / "script.py"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1 and done.stderr.count("Error: ") == 1, done.stderr
    assert 'put what the script does under a line `if __name__ == "__main__":`' in done.stderr
    assert "memory" not in done.stderr


def _long_runs():
    """As long as it takes to be killed: 100 000 steps."""
    e = find("vae-pose", "smoke", "synthetic").with_overrides(steps=100_000)
    return [Run(e.with_overrides(beta=beta), "smoke") for beta in (0.1, 0.2, 0.3, 0.4)]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_stop_with_the_process_that_started_them(tmp_path, monkeypatch, how):
    """… and begin none of the runs that wait for them."""
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    runs, waiting = _long_runs()[:2], _long_runs()[2:]
    program = (
        "import signal\n"
        "from tests.experiments.test_launch import _long_runs, train_all\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in background jobs
        "if __name__ == '__main__': list(train_all(_long_runs(), 'cpu', 2))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], cwd=settings.ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not all(read_metrics(run.folder) for run in runs):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(how)
    said = process.communicate(timeout=300)[1]  # until the last process that could write to its output has ended
    assert how == signal.SIGKILL or "resource_tracker" not in said  # of semaphores that were left behind
    for run in runs:  # and their last step is kept
        kept = torch.load(run.folder / CHECKPOINT, weights_only=True)["step"]
        assert int(read_metrics(run.folder)[-1]["step"]) < kept < 100_000
    assert not any(run.folder.exists() for run in waiting)


def test_over_a_cluster_a_killed_worker_s_run_is_taken_up_again(tmp_path, monkeypatch):
    """Two workers of a local cluster: what they train is what is trained here, though one of them dies."""
    import ray

    weights = {}
    for launcher in ("local", "ray"):
        monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / launcher))
        if launcher == "ray":
            monkeypatch.setattr(launch, "_train", lambda run, device: _killed_once(tmp_path / "killed", run, device))
            monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
            variables = {name: value for name, value in os.environ.items() if name.startswith("DVAE_")}
            here = {"env_vars": variables | {"PYTHONPATH": str(settings.ROOT)}}
            ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=here)
        try:
            done = list(train_all(_runs(), "cpu", 1, launcher))
        finally:
            ray.shutdown()
        assert sorted(run.experiment.name for run in done) == sorted(NAMES)
        weights[launcher] = [load_file(run.folder / WEIGHTS) for run in _runs()]
    assert (tmp_path / "killed").exists() and list((tmp_path / "ray").glob("smoke/*/left behind"))
    for here, there in zip(weights["local"], weights["ray"], strict=True):
        for name, values in here.items():
            torch.testing.assert_close(there[name], values, atol=1e-5, rtol=1e-5)
