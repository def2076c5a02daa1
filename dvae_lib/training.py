"""Training, as stages that follow one another: the cross-modal VAE's one stage, Algorithms 1 and 2 (chapters 03–05).

A run is a folder. While it trains it holds a checkpoint, replaced whole every so often, and a line of metrics every
few steps; a run that is killed continues from the checkpoint and ends with the same weights, because every step's
batch and noise are functions of the seed and the step alone.
"""

import dataclasses
import json
import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

from dvae_lib.files import UserError, atomic_write

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"


@runtime_checkable
class Supply(Protocol):
    """What training asks of data, `datasets.batches.Batches` or your own (chapter 11)."""

    def at(self, step: int) -> dict[str, torch.Tensor]:
        """The batch of this step, a function of the seed and the step alone, on the device that trains."""


@dataclass(frozen=True)
class Stage:
    """One loop of a training algorithm: what the model is asked for at a step, and which of its modules learn from it.

    ask: from the step, what the model's forward is given beside the batch.
    learns: the modules that move, given the model; all others are frozen, their running statistics too.
    inner: a loop inside every step, on the same batch (Algorithm 2, lines 7 to 11).
    """

    name: str
    steps: int
    ask: Callable[[int], object]
    learns: Callable[[nn.Module], Sequence[nn.Module]] = lambda model: [model]
    inner: "Stage | None" = None


def cross_modal(schedule: str, sources: Sequence[str], steps: int) -> list[Stage]:
    """The cross-modal VAE in one stage: “joint” is the dVAE paper's choice (Sec. 2.1), every modality is encoded at
    every step; “alternating” is Spurr et al.'s, one input modality contributes to the loss each iteration.
    """
    if schedule == "joint":
        return [Stage("joint", steps, lambda step: sources)]
    return [Stage("alternating", steps, lambda step: [sources[step % len(sources)]])]


def algorithm_1(disentangling: int, embedding: int) -> list[Stage]:
    """Algorithm 1: T1 steps of Eq. 2 on all but the embedding, then T2 of Eq. 4 on the embedding alone."""
    return [
        Stage("disentangling", disentangling, lambda step: "disentangling", lambda model: model.disentangling),
        Stage("embedding", embedding, lambda step: "embedding", lambda model: model.embedding),
    ]


def algorithm_2(disentangling: int, inner: int, embedding: int) -> list[Stage]:
    """Algorithm 2: as Algorithm 1 with Eq. 6, and T2 steps in every one of the T1 that teach y1 not to need z_u."""
    first, last = algorithm_1(disentangling, embedding)
    independence = Stage("independence", inner, lambda step: "independence", lambda model: model.factor_coders)
    return [dataclasses.replace(first, inner=independence), last]


def regression(steps: int) -> list[Stage]:
    """A regressor's only stage: all that it reads, from every image."""
    return [Stage("regression", steps, lambda step: None)]


def both_at_once(steps: int) -> list[Stage]:
    """Eq. 5: both steps of Algorithm 1 at once."""
    return [Stage("joint", steps, lambda step: "joint")]


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
    description: str = "training",
    quiet: bool = False,
) -> None:
    """Trains `model` in place, stage after stage on its batches with Adam, resuming from a checkpoint in `folder`.

    Writes metrics.jsonl (one JSON object a line: step, counted over all stages, the stage's number, loss, the terms
    of the bound) and, at the end, weights.safetensors. Raises UserError if the loss is not finite, keeping the last
    good checkpoint, and if the checkpoint is damaged.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    engine, optimizer = fabric.setup(model, optimizer)
    start = _resume(folder, model, optimizer, fabric)
    metrics = _Metrics(folder, start, enabled=fabric.is_global_zero)
    total, before, loss = sum(stage.steps for stage, _ in stages), 0, torch.zeros(())

    progress = tqdm(
        initial=start,
        total=total,
        desc=description,
        unit="step",
        mininterval=1.0,
        disable=quiet or not fabric.is_global_zero,
    )
    for number, (stage, batches) in enumerate(stages):
        for step in range(max(start, before), before + stage.steps):
            torch.manual_seed((seed + 1) * 1_000_003 + step * fabric.world_size + fabric.global_rank)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step - before, stage.steps, lr, decay)
            batch = batches.at(step)
            loss, terms = _update(engine, optimizer, fabric, stage, batch, step - before)
            if step % log_every == 0 or step == total - 1:
                _require_finite(loss, step, folder)
                metrics.write(step, number, loss, terms)
                progress.set_postfix(stage=stage.name, loss=f"{loss.item():.3g}", refresh=False)
            progress.update()
            if (step + 1) % save_every == 0 and step + 1 < total:
                _require_finite(loss, step, folder)
                _save(folder, model, optimizer, step + 1, fabric)
        before += stage.steps
    progress.close()

    if fabric.is_global_zero:
        _require_finite(loss, total - 1, folder)
        save_weights(model, folder / WEIGHTS)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    fabric.barrier()


def _update(engine, optimizer, fabric: Fabric, stage: Stage, batch: dict, step: int) -> tuple[torch.Tensor, dict]:
    """One step of a stage, its inner loop included: the loss and its terms before the inner loop."""
    _only(engine.module, stage.learns(engine.module))
    loss, terms = engine(batch, stage.ask(step))
    optimizer.zero_grad(set_to_none=True)  # Adam leaves alone what has no gradient
    fabric.backward(loss)
    optimizer.step()
    if stage.inner:
        for inner_step in range(stage.inner.steps):
            _update(engine, optimizer, fabric, stage.inner, batch, inner_step)
    return loss, terms


def _only(model: nn.Module, learning: Sequence[nn.Module]) -> None:
    """Lets these modules learn, and freezes the others with their running statistics."""
    model.eval().requires_grad_(False)
    for module in learning:
        module.train().requires_grad_(True)


def _require_finite(loss: torch.Tensor, step: int, folder: Path) -> None:
    if not torch.isfinite(loss):
        raise UserError(
            f"The loss became {loss.item()} at step {step}. The last good state is kept in {folder / CHECKPOINT}; "
            "look for NaN in the data, or lower the learning rate and start again."
        )


class _Metrics:
    """metrics.jsonl: appended to; lines past the checkpoint that training resumes from are dropped."""

    def __init__(self, folder: Path, start: int, enabled: bool):
        self.path, self.enabled = folder / METRICS, enabled
        if not enabled:
            return
        kept = [line for line in read_metrics(folder) if line["step"] < start]
        with atomic_write(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, step: int, stage: int, loss: torch.Tensor, terms: dict[str, torch.Tensor]) -> None:
        if self.enabled:
            line = {"step": step, "stage": stage, "loss": loss.item()}
            line |= {name: term.item() for name, term in terms.items()}
            with open(self.path, "a", encoding="utf-8") as stream:
                stream.write(json.dumps(line) + "\n")


def read_metrics(folder: Path) -> list[dict[str, int | float]]:
    """The lines of a run's metrics.jsonl; a last line cut short by a kill is left out."""
    path, lines = folder / METRICS, []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines


def _save(folder: Path, model: nn.Module, optimizer, step: int, fabric: Fabric) -> None:
    if fabric.is_global_zero:
        state = {"model": model.state_dict(), "optimizer": optimizer.optimizer.state_dict(), "step": step}
        with atomic_write(folder / CHECKPOINT) as temporary:
            torch.save(state, temporary)
    fabric.barrier()


def _resume(folder: Path, model: nn.Module, optimizer, fabric: Fabric) -> int:
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location=fabric.device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.optimizer.load_state_dict(state["optimizer"])
        return state["step"]
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is damaged or of another version ({_first_line(error)}). "
                        "Delete it to train this run from the start.") from error  # fmt: skip


def save_weights(model: nn.Module, path: Path) -> None:
    with atomic_write(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, temporary)


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises UserError if the file is missing, damaged, or holds another model's weights."""
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: the run was not trained to its end. Train it again.") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path} is damaged or holds another model's weights ({_first_line(error)}). "
                        f"Delete the folder {path.parent} and train again.") from error  # fmt: skip


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
