"""The training loop: consecutive stages, each with its own batches (chapters 03–05).

A run that is killed continues from its checkpoint and ends with the same weights, because every step's batch and noise
depend only on the seed and the step.
"""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from dvae_lib.files import UserError
from dvae_lib.models.fast import Adam
from dvae_lib.models.modalities import check_batch
from dvae_lib.models.networks import frozen
from dvae_lib.models.saving import SavedModule, first_line
from dvae_lib.training.algorithms import Stage
from dvae_lib.training.distributed import convert_sync_batchnorm
from dvae_lib.training.fabric import Fabric
from dvae_lib.training.interruption import Interruption
from dvae_lib.training.recorder import Recorder
from dvae_lib.training.watch import Watch


@runtime_checkable
class BatchSource(Protocol):
    """A source of training batches: `datasets.batches.Batches`, `fit`'s data, or your own."""

    def batch(self, step: int) -> dict[str, Tensor]:
        """The batch of this step, which depends only on the seed and the step, on the device used for training."""


class Step(NamedTuple):
    """A position in a training run: the step, overall and in its stage, the stage's number, the stage and its data."""

    step: int
    local: int
    number: int
    stage: Stage
    source: BatchSource


def schedule(stages: Sequence[tuple[Stage, BatchSource]], start: int = 0) -> Iterator[Step]:
    """Every step of the stages, from `start` on."""
    first = 0
    for number, (stage, source) in enumerate(stages):
        for step in range(max(start, first), first + stage.steps):
            yield Step(step, step - first, number, stage, source)
        first += stage.steps


def learning_rate(step: int, steps: int, peak: float, decay: bool) -> float:
    """The learning rate at a step: constant, as in the paper, or with a short warm-up and a cosine decay to zero,
    which is better for short runs.
    """
    if not decay:
        return peak
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2


def train(
    model: SavedModule,
    stages: Sequence[tuple[Stage, BatchSource]],
    folder: Path,
    fabric: Fabric,
    *,
    lr: float,
    decay: bool = False,
    seed: int = 0,
    log_every: int = 10,
    save_every: int = 200,
    save_seconds: float = 60.0,
    description: str = "training",
    quiet: bool = False,
    watch: Watch | None = None,
) -> None:
    """Trains `model` in place with Adam, one stage after another, and resumes from a checkpoint in `folder`.

    Writes metrics.jsonl (one JSON object per line: the step over all stages, the stage's number, the loss, the terms
    of the bound) and, at the end, weights.safetensors. If Fabric has several processes, a batch is this process's
    share, and the first process writes. A checkpoint is saved every `save_every` steps if the last one is at least
    `save_seconds` old; after Ctrl-C, or the SIGTERM of a scheduler, the step is finished and saved.

    Raises UserError if a batch is not as the model declares it, if the loss or a weight is not finite (the last good
    checkpoint is kept), if memory runs out or a file cannot be written, and if the checkpoint is damaged.
    """
    if fabric.world_size > 1:
        convert_sync_batchnorm(model)
    optimizer = Adam(model.parameters(), lr=lr)
    engine, optimizer = fabric.setup(model, optimizer)
    recorder = Recorder(folder, model, optimizer.optimizer, fabric, stages, log_every, save_every, save_seconds)
    start = recorder.done
    model.train()
    with recorder.progress(description, quiet), Interruption(fabric) as interruption:
        for now in schedule(stages, start):
            torch.manual_seed((seed + 1) * 1_000_003 + now.step)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(now.local, now.stage.steps, lr, decay)
            with _memory_errors_explained(now.step):
                batch = now.source.batch(now.step)
                if now.step == start or now.local == 0:
                    check_batch(model.needs(now.stage.forward_arg(now.local)), batch)
                loss, terms = update(engine, optimizer, fabric, now.stage, batch, now.local)
                if watch and now.step % watch.every == 0:
                    terms = terms | watch(model)
            logged = recorder.record(now, loss, terms)
            if interruption.requested(logged) and recorder.done < recorder.total:
                recorder.stop()
                interruption.stop()
        recorder.finish()
    if interruption.heard:  # in the last step
        interruption.stop()


def update(
    engine: nn.Module, optimizer: torch.optim.Optimizer, fabric: Fabric, stage: Stage, batch: dict, step: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """One step of a stage, its inner loop included: the loss and its terms before the inner loop."""
    model = cast(nn.Module, engine.module)  # without Fabric's wrappers
    with frozen(untrained(model, stage)):
        loss, terms = engine(batch, stage.forward_arg(step))
        optimizer.zero_grad(set_to_none=True)  # Adam skips parameters without a gradient
        fabric.backward(loss)
        optimizer.step()
    if stage.inner:
        for inner_step in range(stage.inner.steps):
            update(engine, optimizer, fabric, stage.inner, batch, inner_step)
    return loss, terms


def untrained(model: nn.Module, stage: Stage) -> list[nn.Module]:
    """All modules of a model that a stage does not train."""
    trained = {module for root in stage.trainable(model) for module in root.modules()}
    return [module for module in model.modules() if module not in trained]


# Of a GPU, of a CPU, and of one under Windows. Other errors also mention memory, such as illegal access to it.
_NO_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")


@contextmanager
def _memory_errors_explained(step: int) -> Iterator[None]:
    """Raises UserError if memory runs out, for which torch has no specific error on a CPU."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _NO_MEMORY.search(str(error)):
            raise
        raise UserError(
            f"Memory ran out at step {step} ({first_line(error)}). Make the batches smaller (--set batch=16), train "
            "fewer runs at a time (--jobs 1), or share the batches among several devices (--devices 2)."
        ) from error
