"""What a run's folder holds while it trains and after: a checkpoint, replaced whole every so often; a line of metrics
every few steps; and in the end the weights.
"""

import io
import json
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes
from torch import Tensor, nn

from dvae_lib.files import UserError, atomic_write, explain_os_errors

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
    """The lines of a run's metrics.jsonl; a last line cut short by a kill is left out."""
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
    # By way of memory: writing a file itself, torch.save would not say that the disk is full.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_write(folder / CHECKPOINT) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def load_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device) -> int:
    """The step to go on from, 0 if there is no checkpoint. Raises UserError if it is damaged or does not fit."""
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


def save_weights(model: nn.Module, path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(as_bytes({name: tensor.contiguous() for name, tensor in model.state_dict().items()}))


def load_weights(model: nn.Module, path: Path) -> None:
    """Raises UserError if the file is missing, damaged, or holds another model's weights."""
    try:
        model.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist: the run was not trained to its end. Train it again.") from None
    except (SafetensorError, RuntimeError) as error:
        raise UserError(f"{path} is damaged or holds another model's weights ({first_line(error)}). "
                        f"Delete the folder {path.parent} and train again.") from error  # fmt: skip


def first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
