"""`fit`: trains your own model on your own data in one call (chapter 11)."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from dvae_lib.files import UserError, read_json, write_json
from dvae_lib.models import DVAE, CrossModalVAE, Regressor
from dvae_lib.models.saving import load_weights
from dvae_lib.training.algorithms import Stage, algorithm_1, algorithm_2, cross_modal, regression
from dvae_lib.training.checkpoints import WEIGHTS, read_metrics
from dvae_lib.training.distributed import Precision, make_fabric
from dvae_lib.training.loop import BatchSource, train

Data = Mapping[str, Tensor] | Dataset | DataLoader
_SETTINGS = "fit.json"


class TensorBatches:
    """Batches of a dict of tensors (N, …), or of a map-style data set of dicts: shuffled passes that depend only on
    seed and step.
    """

    def __init__(self, data: Mapping[str, Tensor] | Dataset, size: int, seed: int, device: torch.device):
        self.data, self.size, self.seed, self.device = data, size, seed, device
        if not isinstance(data, Sized):
            raise UserError("The data set has no length, so it cannot be shuffled: pass a DataLoader of it.")
        lengths = {len(values) for values in data.values()} if isinstance(data, Mapping) else {len(data)}
        if len(lengths) != 1 or not (count := lengths.pop()):
            raise UserError(
                f"The data's tensors have {sorted(lengths) or 'no'} samples: all of them must have the same number."
            )
        self.count, self._order = count, (-1, torch.empty(0))
        if isinstance(data, Mapping):
            self.data = {name: values.to(device) for name, values in data.items()}

    def batch(self, step: int) -> dict[str, Tensor]:
        chosen = torch.tensor([self._sample(i) for i in range(step * self.size, (step + 1) * self.size)])
        if isinstance(self.data, Mapping):
            return {name: values[chosen.to(self.device)] for name, values in self.data.items()}
        return _on(default_collate([self.data[i] for i in chosen.tolist()]), self.device)

    def _sample(self, place: int) -> int:
        epoch, at = divmod(place, self.count)
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = epoch, torch.randperm(self.count, generator=generator)
        return int(self._order[1][at])


class LoaderBatches:
    """The batches of a DataLoader, one pass after another. The loader determines the order: a resumed run has another
    one, and the batch of an earlier step cannot be recreated (an empty one is returned).
    """

    def __init__(self, loader: Iterable, device: torch.device):
        self.loader, self.device = loader, device
        self._iterator: Iterator = iter(loader)
        self._current: tuple[int, dict[str, Tensor]] = -1, {}

    def batch(self, step: int) -> dict[str, Tensor]:
        if step < self._current[0]:
            return {}
        if step > self._current[0]:
            batch = next(self._iterator, None)
            if batch is None:
                self._iterator = iter(self.loader)
                batch = next(self._iterator, None)
            if batch is None:
                raise UserError(
                    "The DataLoader yields no batch: it is empty, or smaller than one batch with drop_last."
                )
            self._current = step, _on(batch, self.device)
        return self._current[1]


def _on(batch: Any, device: torch.device) -> dict[str, Tensor]:
    if not isinstance(batch, Mapping):
        raise UserError(f"The data yield {type(batch).__name__}: they must yield dicts of tensors by modality.")
    return {name: values.to(device) for name, values in batch.items()}


def fit(
    model: DVAE | CrossModalVAE | Regressor,
    data: Data,
    *,
    steps: int | Sequence[int],
    folder: str | Path,
    batch_size: int = 64,
    lr: float = 1e-3,
    decay: bool = True,
    inner: int = 1,
    seed: int = 0,
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto",
    precision: Precision = "32-true",
    quiet: bool = False,
) -> list[dict[str, float]]:
    """Trains a model in place, with a progress bar, and returns the logged values, a dict every ten steps.

    data: a dict of tensors (N, …) by modality; a map-style Dataset whose items are such dicts of one sample; or a
        DataLoader of such dicts of a batch (then its own batch_size is used). If a label is not known for all samples,
        a bool tensor (N,) named “<label> known” states for which it is.
    steps: for a dVAE, those of the disentangling step and, if it has embeddings, of the embedding step (Algorithm 1;
        with a z_u, Algorithm 2 with `inner` steps of its inner loop each time); one number for other models.
    folder: contains checkpoint, metrics and weights. After a kill, the same call continues with a bit-identical result,
        except for a DataLoader's order; a finished run is only loaded.
    lr, decay: Adam's learning rate, and whether it decays to zero.

    Raises UserError if the folder contains another training run, if the data are not as the model declares them, and as
    `training.loop.train` does.
    """
    folder, fabric = Path(folder), make_fabric(device, precision=precision)
    stages = _stages(model, [steps] if isinstance(steps, int) else list(steps), inner)
    settings = {
        "model": json.loads(json.dumps(model.declaration)),
        "steps": [stage.steps for stage in stages],
        "inner": inner,
        "batch_size": getattr(data, "batch_size", None) if isinstance(data, DataLoader) else batch_size,
        "lr": lr,
        "decay": decay,
        "seed": seed,
        "precision": precision,
    }
    _claim(folder, settings)
    if not (folder / WEIGHTS).exists():
        source: BatchSource = (
            LoaderBatches(data, fabric.device)
            if isinstance(data, DataLoader)
            else TensorBatches(data, batch_size, seed, fabric.device)
        )
        train(
            model, [(stage, source) for stage in stages], folder, fabric,
            lr=lr, decay=decay, seed=seed, description=folder.name, quiet=quiet,
        )  # fmt: skip
    model.to("cpu")
    load_weights(model, folder / WEIGHTS)
    model.eval()
    return read_metrics(folder)


def _stages(model: DVAE | CrossModalVAE | Regressor, steps: list[int], inner: int) -> list[Stage]:
    embeddings = isinstance(model, DVAE) and len(model.embedding_encoders) > 0
    if len(steps) != 1 + embeddings or min(steps) < 1:
        wanted = "two numbers, of the disentangling and of the embedding step" if embeddings else "one number"
        raise UserError(f"steps is {steps}: this model requires {wanted}, each 1 or more.")
    if isinstance(model, Regressor):
        return regression(*steps)
    if isinstance(model, CrossModalVAE):
        return cross_modal("joint", list(model.encoders), *steps)
    disentangling, embedding = [*steps, 0][:2]
    if model.unlabelled:
        return algorithm_2(disentangling, inner, embedding)
    return algorithm_1(disentangling, embedding)


def _claim(folder: Path, settings: dict[str, Any]) -> None:
    """Writes the settings into a new folder; raises UserError if it contains another training run."""
    path = folder / _SETTINGS
    if not path.exists():
        write_json(path, settings)
        return
    there = read_json(path)
    if differing := [name for name in settings if there.get(name) != settings[name]]:
        raise UserError(
            f"{folder} contains a training run with another {', '.join(differing)}: choose another folder, or delete "
            "this one."
        )
