"""Runs trained several at a time."""

import pytest
import torch
from safetensors.torch import load_file

from dvae_lib.checkpoints import CHECKPOINT, WEIGHTS
from dvae_lib.experiments import find
from dvae_lib.files import UserError
from dvae_lib.parallel import _pixels, train_all
from dvae_lib.runs import Run

NAMES = ("vae-pose", "cross-modal", "two-stream")


def _runs():
    return [Run(find(name, "smoke", "synthetic"), "smoke") for name in NAMES]


def test_runs_trained_side_by_side_are_those_trained_alone(tmp_path, monkeypatch):
    weights = {}
    for jobs in (1, 2):
        monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / str(jobs)))
        done = list(train_all(_runs(), "cpu", jobs))
        assert sorted(run.experiment.name for run in done) == sorted(NAMES) and all(run.trained for run in done)
        weights[jobs] = [load_file(run.folder / WEIGHTS) for run in _runs()]
    for alone, together in zip(weights[1], weights[2], strict=True):
        for name, values in alone.items():
            torch.testing.assert_close(together[name], values, atol=2e-2, rtol=2e-2)  # bfloat16, other threads
    assert [run.experiment.name for run in train_all(_runs(), "cpu", 2)] == list(NAMES)  # nothing left to do


def test_a_run_that_fails_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    first = _runs()[0]
    first.folder.mkdir(parents=True)
    (first.folder / CHECKPOINT).write_bytes(b"no checkpoint")
    with pytest.raises(UserError, match="is damaged"):
        list(train_all(_runs(), "cpu", 2))


def test_the_pixels_of_a_run_are_those_of_its_batches():
    run = Run(find("dvae-pose", "smoke", "synthetic"), "smoke")  # 4 steps without images, 2 with; 8 of 32 pixels square
    assert _pixels(run) == 4 * 8 * 32 + 2 * 8 * 32**2
    assert _pixels(run, 3) == 3 * 8 * 32 and _pixels(run, 5) == 4 * 8 * 32 + 8 * 32**2
