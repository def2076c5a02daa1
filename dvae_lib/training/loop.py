"""Training, as stages that follow one another: the cross-modal VAE's one stage, Algorithms 1 and 2 (chapters 03–05).

A run that is killed continues from its checkpoint and ends with the same weights, because every step's batch and noise
are functions of the seed and the step alone.
"""

import math
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm.auto import tqdm

from dvae_lib.files import UserError
from dvae_lib.models.fast import Adam
from dvae_lib.training.algorithms import Stage
from dvae_lib.training.checkpoints import (
    CHECKPOINT,
    WEIGHTS,
    Metrics,
    first_line,
    load_checkpoint,
    save_checkpoint,
    save_weights,
)
from dvae_lib.training.distributed import share_statistics
from dvae_lib.training.interruption import Interruption


@runtime_checkable
class Supply(Protocol):
    """What training asks of data, `datasets.batches.Batches` or your own (chapter 11)."""

    def batch(self, step: int) -> dict[str, torch.Tensor]:
        """The batch of this step, a function of the seed and the step alone, on the device that trains."""


def learning_rate(step: int, steps: int, peak: float, decay: bool) -> float:
    """The paper trains at a constant rate; short runs do better with a brief warm-up and a cosine decay to zero."""
    if not decay:
        return peak
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * (1 + math.cos(math.pi * (step - warm_up) / (steps - warm_up))) / 2


def train(
    model: nn.Module,
    stages: Sequence[tuple[Stage, Supply]],
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
) -> None:
    """Trains `model` in place, stage after stage on its batches with Adam, resuming from a checkpoint in `folder`.

    Writes metrics.jsonl (one JSON object a line: step, counted over all stages, the stage's number, loss, the terms
    of the bound) and, at the end, weights.safetensors. Where Fabric has several processes, a batch is this process's
    share, and the first of them writes. A checkpoint is saved every so many steps if the last is so many seconds old;
    Ctrl-C, or the SIGTERM of a scheduler, ends the step and saves it.

    Raises UserError if the loss or a weight is not finite, keeping the last good checkpoint, if memory runs out or a
    file cannot be written, and if the checkpoint is damaged.
    """
    if fabric.world_size > 1:
        share_statistics(model)
    optimizer = Adam(model.parameters(), lr=lr)
    engine, optimizer = fabric.setup(model, optimizer)
    start = load_checkpoint(folder, model, optimizer.optimizer, fabric.device)
    metrics = Metrics(folder, start) if fabric.is_global_zero else None
    total, before, checked = sum(stage.steps for stage, _ in stages), 0, start

    saved = time.monotonic()

    def require_finite(tensors: Iterable[Tensor], what: str, done: int) -> None:
        if not all(torch.isfinite(tensor).all() for tensor in tensors):
            raise _not_finite(
                what, done - 1, folder, ((s, batches.batch(s)) for s in range(max(checked, before), done))
            )

    def save(done: int) -> None:
        require_finite(model.state_dict().values(), "A weight", done)
        if fabric.is_global_zero:
            save_checkpoint(folder, model, optimizer.optimizer, done)

    progress = tqdm(
        initial=start,
        total=total,
        desc=description,
        unit="step",
        mininterval=1.0,
        disable=quiet or not fabric.is_global_zero,
    )
    with progress, Interruption(fabric) as interruption:
        for number, (stage, batches) in enumerate(stages):
            for step in range(max(start, before), before + stage.steps):
                torch.manual_seed((seed + 1) * 1_000_003 + step)
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step - before, stage.steps, lr, decay)
                with _memory(step):
                    loss, terms = update(engine, optimizer, fabric, stage, batches.batch(step), step - before)
                progress.update()
                logged, done = step % log_every == 0 or step + 1 == total, step + 1
                if logged:
                    loss, terms = fabric.all_reduce((loss.detach(), terms), reduce_op="mean")
                    require_finite([loss], "The loss", done)
                    checked = done
                    if metrics:
                        metrics.write(step, number, loss, terms)
                    progress.set_postfix(stage=stage.name, loss=f"{loss.item():.3g}", refresh=False)
                if interruption.asked(logged) and done < total:
                    save(done)
                    if fabric.is_global_zero:
                        kept = f"Stopped after step {done}, kept in {folder}; the same command goes on from there."
                        progress.write(kept, file=sys.stderr)  # who dies of SIGTERM leaves stdout's buffer unwritten
                    fabric.barrier()  # who left now would have the one that still writes killed, by what started them
                    interruption.stop()
                if done % save_every == 0 and done < total and time.monotonic() - saved >= save_seconds:
                    save(done)
                    saved = time.monotonic()
            before += stage.steps

    require_finite(model.state_dict().values(), "A weight", total)
    if fabric.is_global_zero:
        save_weights(model, folder / WEIGHTS)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    fabric.barrier()
    if interruption.heard:  # in the last step
        interruption.stop()


def update(engine, optimizer, fabric: Fabric, stage: Stage, batch: dict, step: int) -> tuple[Tensor, dict]:
    """One step of a stage, its inner loop included: the loss and its terms before the inner loop."""
    _only(engine.module, stage.learns(engine.module))
    loss, terms = engine(batch, stage.ask(step))
    optimizer.zero_grad(set_to_none=True)  # Adam leaves alone what has no gradient
    fabric.backward(loss)
    optimizer.step()
    if stage.inner:
        for inner_step in range(stage.inner.steps):
            update(engine, optimizer, fabric, stage.inner, batch, inner_step)
    return loss, terms


def _only(model: nn.Module, learning: Sequence[nn.Module]) -> None:
    """Lets these modules learn, and freezes the others with their running statistics."""
    model.eval().requires_grad_(False)
    for module in learning:
        module.train().requires_grad_(True)


# Of a GPU, of a CPU, and of one under Windows. Other errors name memory, too, as an illegal access to it.
_NO_MEMORY = re.compile("out of memory|can't allocate memory|not enough memory")


@contextmanager
def _memory(step: int) -> Iterator[None]:
    """Says in a sentence that memory ran out; torch has no error of its own for it on a CPU."""
    try:
        yield
    except (torch.cuda.OutOfMemoryError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _NO_MEMORY.search(str(error)):
            raise
        raise UserError(
            f"Memory ran out at step {step} ({first_line(error)}). Make the batches smaller (--set batch=16), train "
            "fewer runs at a time (--jobs 1), or share the batches among several devices (--devices 2)."
        ) from error


def _not_finite(what: str, step: int, folder: Path, batches: Iterable[tuple[int, dict]]) -> UserError:
    """The error to raise, naming what in the data is to blame if one of the batches, by step, has it."""
    fields = ((of, name, values) for of, batch in batches for name, values in batch.items())
    blame = "The data are finite: lower the learning rate (--set lr=0.0001) and start again."
    for of, name, values in fields:
        bad = ~torch.isfinite(values).reshape(len(values), -1).all(1)
        if bad.any():
            which = f"In the batch of step {of}, {int(bad.sum())} of {len(bad)} samples"
            blame = f"{which} have NaN or infinity in “{name}”: mend the data, or leave these out."
            break
    kept = f" The last good state is kept in {folder / CHECKPOINT}." if (folder / CHECKPOINT).exists() else ""
    return UserError(f"{what} was no finite number at step {step}.{kept} {blame}")
