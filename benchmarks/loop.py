"""Our training loop compared with the bare networks: forward, backward and optimiser step on one fixed batch.

The loop also creates batches, samples noise, logs and shows its progress; the speed of the bare networks is its upper
limit. Two experiments: one decodes three images per sample, the other none.
"""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.common import experiment, make_run
from benchmarks.subjects import measure, ratio
from dvae_lib.experiments import Experiment
from dvae_lib.models.fast import Adam
from dvae_lib.models.networks import frozen
from dvae_lib.training import BatchSource, Stage, train
from dvae_lib.training.checkpoints import save_checkpoint
from dvae_lib.training.distributed import make_fabric
from dvae_lib.training.fabric import Fabric
from dvae_lib.training.loop import untrained

STEPS, WARM_UP = 25, 5
SAVED_EVERY = 60  # seconds, as `train` does
MATRIX = 4096  # rows of the square matrices that measure how fast the device multiplies


class Subject(NamedTuple):
    """Everything that training a stage of an experiment requires."""

    fabric: Fabric
    model: nn.Module
    stage: Stage
    batches: BatchSource
    lr: float


def prepared(e: Experiment, stage: int = -1, device: str = "auto") -> Subject:
    """A stage, by default the last: the embedding step of a dVAE uses images, as do all steps of the other models."""
    fabric, run, chosen = make_fabric(device, precision=e.precision), make_run(e), e.stages[stage]
    return Subject(fabric, run.build(), chosen, run.training_batches(chosen.name, fabric.device), e.lr)


class Bare:
    """The bare networks: forward, backward and Adam on one fixed batch."""

    def __init__(self, subject: Subject):
        self.fabric, self.model, self.stage, batches, lr = subject
        self.engine, self.optimizer = self.fabric.setup(self.model, Adam(self.model.parameters(), lr=lr))
        self.batch = batches.batch(0)
        self._frozen = ExitStack()  # never closed
        self._frozen.enter_context(frozen(untrained(self.model, self.stage)))

    def step(self) -> None:
        loss, _ = self.engine(self.batch, self.stage.forward_arg(0))
        self.optimizer.zero_grad(set_to_none=True)
        self.fabric.backward(loss)
        self.optimizer.step()


def _clock(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def seconds_of(step: Callable[[], object], device: torch.device, times: int = STEPS) -> float:
    start = _clock(device)
    for _ in range(times):
        step()
    return (_clock(device) - start) / times


class _Timed:
    """Batches that record the time of two of their steps."""

    def __init__(self, batches: BatchSource, device: torch.device, steps: tuple[int, int]):
        self.batches, self.device, self.steps, self.times = batches, device, steps, []

    def batch(self, step: int) -> dict:
        if step in self.steps:  # waiting for the GPU at every step would be slower
            self.times.append(_clock(self.device))
        return self.batches.batch(step)


def trained(subject: Subject, steps: int = STEPS, warm_up: int = WARM_UP) -> Iterator[float]:
    """Seconds per step of `train`."""
    fabric, model, stage, batches, lr = subject
    while True:
        timed = _Timed(batches, fabric.device, (warm_up, steps - 1))
        with tempfile.TemporaryDirectory() as folder:
            train(model, [(replace(stage, steps=steps), timed)], Path(folder), fabric, lr=lr, quiet=True)
        start, end = timed.times
        yield (end - start) / (steps - 1 - warm_up)


def loop(name: str) -> Iterator[float]:
    """Seconds per training step of an experiment."""
    return trained(prepared(experiment(name)))


def bare(name: str) -> Iterator[float]:
    """Seconds per step of the bare networks."""
    networks = Bare(prepared(experiment(name)))
    while True:
        yield seconds_of(networks.step, networks.fabric.device)


def batch(name: str) -> Iterator[float]:
    """Seconds to create a batch."""
    subject = prepared(experiment(name))
    while True:
        yield seconds_of(lambda: subject.batches.batch(0), subject.fabric.device)


def checkpoint(name: str) -> Iterator[float]:
    """Seconds to save a checkpoint."""
    networks = Bare(prepared(experiment(name)))
    networks.step()
    while True:
        with tempfile.TemporaryDirectory() as folder:
            saved = Path(folder), networks.model, networks.optimizer.optimizer, 1
            yield seconds_of(lambda saved=saved: save_checkpoint(*saved), networks.fabric.device, 1)


def work(networks: Bare) -> float:
    """Floating point operations per step, of convolutions and matrix products."""
    with FlopCounterMode(display=False) as counter:
        networks.step()
    return float(counter.get_total_flops())


def operations(name: str) -> Iterator[float]:
    """The `work` of an experiment."""
    networks = Bare(prepared(experiment(name)))
    while True:
        yield work(networks)


def matrices(device: str = "auto") -> Iterator[float]:
    """Floating point operations per second that the device reaches in bfloat16 when multiplying large matrices."""
    device = make_fabric(device).device
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    while True:
        yield 2 * MATRIX**3 / seconds_of(lambda: a @ b, device, 5 if device.type == "cpu" else 100)


def run() -> dict[str, float]:
    results, matrices = {}, []
    for name in ("cross-modal", "dvae-pose"):
        kinds = ("loop", "bare", "batch", "checkpoint", "operations")
        seconds = measure("loop", [*(f"{kind} {name}" for kind in kinds), "matrices"], rounds=5)
        times = {kind: seconds[f"{kind} {name}"] for kind in kinds}
        results[f"{name}: our loop ÷ the bare networks, speed"] = ratio(times["bare"], times["loop"])
        results[f"{name}: making the batch ÷ a step, time"] = ratio(times["batch"], times["loop"])
        results[f"{name}: saving checkpoints ÷ training, time"] = round(median(times["checkpoint"]) / SAVED_EVERY, 4)
        reached = [flops / s for flops, s in zip(times["operations"], times["loop"], strict=True)]
        results[f"{name}: a step ÷ large bf16 matrices, operations a second"] = ratio(reached, seconds["matrices"])
        results[f"{name}: steps a second"] = round(1 / median(times["loop"]), 2)
        matrices += seconds["matrices"]
    return results | {"large bf16 matrices, operations a second": median(matrices)}
