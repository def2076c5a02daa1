"""The files in a run's folder during and after training: a checkpoint, replaced at intervals; a line of metrics every
few steps; and finally the weights.
"""

import io
import json
import pickle
from pathlib import Path

import torch
from torch import Tensor, nn

from dvae_lib.files import UserError, atomic_write, explain_os_errors
from dvae_lib.models.saving import first_line

CHECKPOINT, METRICS, WEIGHTS = "checkpoint.pt", "metrics.jsonl", "weights.safetensors"


class Metrics:
    """metrics.jsonl: appended to; lines past the step that training resumes from are dropped."""

    def __init__(self, folder: Path, start: int):
        self.path = folder / METRICS
        kept = [line for line in read_metrics(folder) if line["step"] < start]
        with atomic_write(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")

    def write(self, step: int, stage: int, loss: Tensor, terms: dict[str, Tensor]) -> None:
        line = {"step": step, "stage": stage, "loss": loss.item()} | {name: term.item() for name, term in terms.items()}
        with explain_os_errors(self.path), open(self.path, "a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")


def read_metrics(folder: Path) -> list[dict[str, int | float]]:
    """The lines of a run's metrics.jsonl; an incomplete last line, after a kill, is left out."""
    path, lines = folder / METRICS, []
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break
    return lines


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    # Written to memory first: when writing to a file, torch.save does not report a full disk.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_write(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> int:
    """The step to continue from, 0 if there is no checkpoint. Raises UserError if it is damaged or does not fit."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        return state["step"]
    except (RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise UserError(f"{path} is damaged or of another version ({first_line(error)}). "
                        "Delete it to train this run from the start.") from error  # fmt: skip
