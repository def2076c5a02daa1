"""Our loop against the bare networks: forward, backward and optimiser step on one batch that stays where it is.

The loop makes its batches, draws its noise, logs and shows its progress; what it cannot have is more speed than the
networks. Two experiments: one draws three images a step, the other none.
"""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import experiment, make_run
from benchmarks.subjects import measure, ratio
from dvae_lib.experiments import Experiment
from dvae_lib.models.fast import Adam
from dvae_lib.training import BatchSource, Stage, train, update
from dvae_lib.training.checkpoints import save_checkpoint
from dvae_lib.training.distributed import make_fabric

STEPS, WARM_UP = 25, 5
SAVED_EVERY = 60  # seconds, as `train` does
MATRIX = 4096  # rows of the square matrices that say how fast the device multiplies


def prepared(name: str) -> tuple[Experiment, Fabric, nn.Module, Stage, BatchSource]:
    """All that the last stage of an experiment takes."""
    e = experiment(name)
    fabric, run = make_fabric("auto", precision=e.precision), make_run(e)
    stage = e.stages[-1]  # a dVAE's embedding step reads images, as all steps of the other do
    return e, fabric, run.build(), stage, run.training_batches(stage.name, fabric.device)


def _bare(name: str):
    """What one step of the bare networks is, and what it is done to."""
    e, fabric, model, stage, batches = prepared(name)
    engine, optimizer = fabric.setup(model, Adam(model.parameters(), lr=e.lr))
    batch = batches.batch(0)
    update(engine, optimizer, fabric, stage, batch, 0)  # freezes what does not learn

    def step() -> None:
        loss, _ = engine(batch, stage.forward_arg(0))
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        optimizer.step()

    return step, fabric, model, optimizer


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _seconds(step, device: torch.device, times: int = STEPS) -> float:
    start = _clock(device)
    for _ in range(times):
        step()
    return (_clock(device) - start) / times


class _Timed:
    """Batches that record the time of two of their steps."""

    def __init__(self, batches, device: torch.device):
        self.batches, self.device, self.times = batches, device, []

    def batch(self, step: int) -> dict:
        if step in (WARM_UP, STEPS - 1):  # a clock that waits for a GPU would slow the steps between
            self.times.append(_clock(self.device))
        return self.batches.batch(step)


def trained(model: nn.Module, stage: Stage, batches: BatchSource, fabric: Fabric, lr: float) -> Iterator[float]:
    """Seconds of a step of `train`."""
    while True:
        timed = _Timed(batches, fabric.device)
        with tempfile.TemporaryDirectory() as folder:
            train(model, [(replace(stage, steps=STEPS), timed)], Path(folder), fabric, lr=lr)
        start, end = timed.times
        yield (end - start) / (STEPS - 1 - WARM_UP)


def loop(name: str) -> Iterator[float]:
    """Seconds of a step of an experiment's training."""
    e, fabric, model, stage, batches = prepared(name)
    return trained(model, stage, batches, fabric, e.lr)


def bare(name: str) -> Iterator[float]:
    """Seconds of a step of the bare networks."""
    step, fabric, _, _ = _bare(name)
    while True:
        yield _seconds(step, fabric.device)


def batch(name: str) -> Iterator[float]:
    """Seconds of making a batch."""
    _, fabric, _, _, batches = prepared(name)
    while True:
        yield _seconds(lambda: batches.batch(0), fabric.device)


def checkpoint(name: str) -> Iterator[float]:
    """Seconds of saving a checkpoint."""
    _, fabric, model, optimizer = _bare(name)
    while True:
        with tempfile.TemporaryDirectory() as folder:
            yield _seconds(lambda: save_checkpoint(Path(folder), model, optimizer.optimizer, 1), fabric.device, 1)


def work(name: str) -> Iterator[float]:
    """Floating point operations of a step, the convolutions' and matrices'."""
    step, *_ = _bare(name)
    while True:
        with FlopCounterMode(display=False) as counter:
            step()
        yield float(counter.get_total_flops())


def matrices() -> Iterator[float]:
    """Floating point operations a second that the device reaches in bfloat16, multiplying large matrices."""
    device = make_fabric("auto").device
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    while True:
        yield 2 * MATRIX**3 / _seconds(lambda: a @ b, device, 5)


def run() -> dict[str, float]:
    results, matrices = {}, []
    for name in ("cross-modal", "dvae-pose"):
        kinds = ("loop", "bare", "batch", "checkpoint", "work")
        seconds = measure("loop", [*(f"{kind} {name}" for kind in kinds), "matrices"], rounds=5)
        times = {kind: seconds[f"{kind} {name}"] for kind in kinds}
        results[f"{name}: our loop ÷ the bare networks, speed"] = ratio(times["bare"], times["loop"])
        results[f"{name}: making the batch ÷ a step, time"] = ratio(times["batch"], times["loop"])
        results[f"{name}: saving checkpoints ÷ training, time"] = round(median(times["checkpoint"]) / SAVED_EVERY, 4)
        reached = [flops / s for flops, s in zip(times["work"], times["loop"], strict=True)]
        results[f"{name}: a step ÷ large bf16 matrices, operations a second"] = ratio(reached, seconds["matrices"])
        results[f"{name}: steps a second"] = round(1 / median(times["loop"]), 2)
        matrices += seconds["matrices"]
    return results | {"large bf16 matrices, operations a second": median(matrices)}
