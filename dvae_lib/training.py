"""Training the cross-modal VAE, jointly or alternating: one loop, on whatever machine Fabric finds (chapter 03).

A run is a folder. While it trains it holds a checkpoint, replaced whole every so often, and a line of metrics every
few steps; a run that is killed continues from the checkpoint and ends with the same weights, because every step's
batch and noise are functions of the seed and the step alone.
"""

import json
import math
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from tqdm.auto import tqdm

from dvae_lib.datasets.batches import Batches
from dvae_lib.files import UserError, atomic_write

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"

# Which modalities are encoded at a step, given all that the model encodes.
Schedule = Callable[[int, Sequence[str]], Sequence[str]]
SCHEDULES: dict[str, Schedule] = {
    # The dVAE paper's choice (Sec. 2.1): the latent is learnt from all modalities together.
    "joint": lambda step, sources: sources,
    # Spurr et al.: one input modality contributes to the loss each iteration.
    "alternating": lambda step, sources: [sources[step % len(sources)]],
}


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
    batches: Batches,
    folder: Path,
    fabric: Fabric,
    *,
    steps: int,
    lr: float,
    decay: bool = False,
    schedule: str = "joint",
    seed: int = 0,
    log_every: int = 10,
    save_every: int = 200,
    description: str = "training",
) -> None:
    """Trains `model` in place for `steps` steps of Adam, resuming from `folder` if a checkpoint lies there.

    Writes metrics.jsonl (one JSON object a line: step, loss, the terms of Eq. 1) and, at the end,
    weights.safetensors. Raises UserError if the loss is not finite, keeping the last good checkpoint, and if the
    checkpoint is damaged.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    engine, optimizer = fabric.setup(model, optimizer)
    engine.train()
    sources, choose = list(model.encoders), SCHEDULES[schedule]
    start = _resume(folder, model, optimizer, fabric)
    metrics = _Metrics(folder, start, enabled=fabric.is_global_zero)

    progress = tqdm(
        range(start, steps), initial=start, total=steps, desc=description, unit="step", mininterval=1.0,
        disable=not fabric.is_global_zero,
    )  # fmt: skip
    for step in progress:
        torch.manual_seed((seed + 1) * 1_000_003 + step * fabric.world_size + fabric.global_rank)
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, lr, decay)
        loss, terms = engine(batches.at(step), choose(step, sources))
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        if step % log_every == 0 or step == steps - 1:
            _require_finite(loss, step, folder)
            metrics.write(step, loss, terms)
            progress.set_postfix(loss=f"{loss.item():.3g}", refresh=False)
        optimizer.step()
        if (step + 1) % save_every == 0 and step + 1 < steps:
            _require_finite(loss, step, folder)
            _save(folder, model, optimizer, step + 1, fabric)

    if fabric.is_global_zero:
        _require_finite(loss if start < steps else torch.zeros(()), steps - 1, folder)
        save_weights(model, folder / WEIGHTS)
        (folder / CHECKPOINT).unlink(missing_ok=True)
    fabric.barrier()


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

    def write(self, step: int, loss: torch.Tensor, terms: dict[str, torch.Tensor]) -> None:
        if self.enabled:
            line = {"step": step, "loss": loss.item()} | {name: term.item() for name, term in terms.items()}
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
