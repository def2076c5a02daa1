"""Runs: an experiment and its folder. Chapters call `load_or_train(name)`.

A run is stored in runs/<profile>/<name>-<hash of its configuration>/. The same configuration, on data of the same
recipe, has the same folder: it is trained once, and loaded from then on.
"""

import hashlib
import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes

from dvae_lib import __version__, settings
from dvae_lib.datasets import Part, locate, open_part, open_source, recipe, tag_candidates, units
from dvae_lib.datasets.batches import Batches, Subset
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.experiments import Experiment, experiments, find
from dvae_lib.experiments.evaluation import Evaluation, Model, evaluate, mean_labels
from dvae_lib.experiments.kinds import from_config
from dvae_lib.files import UserError, atomic_write, exclusive_lock, read_json, write_json
from dvae_lib.hand import Root
from dvae_lib.models.saving import load_weights
from dvae_lib.training import train
from dvae_lib.training.checkpoints import WEIGHTS, read_metrics
from dvae_lib.training.distributed import make_fabric
from dvae_lib.training.fabric import Fabric
from dvae_lib.training.watch import Watch

CONFIG, PROVENANCE, EVALUATION, ERRORS = "config.json", "provenance.json", "evaluation.json", "errors.safetensors"
VERSION = 3  # of the configuration: a run of another version cannot be opened
FORMAT = 3  # of the evaluation


def folder_of(name: str, config: Mapping, profile: str | None = None) -> Path:
    """The folder of a run with this name and configuration; every configuration has its own."""
    digest = hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:8]
    return settings.runs_root() / (profile or settings.profile()) / f"{name}-{digest}"


@dataclass
class Run:
    """An experiment and the folder where it was, or will be, trained: `folder_of` its configuration, or `opened`."""

    experiment: Experiment
    profile: str
    opened: Path | None = field(default=None, kw_only=True)

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """The run in a folder, anywhere: the folder contains everything that was trained.

        Raises UserError if its config.json is missing, damaged or of another version.
        """
        path = Path(folder) / CONFIG
        config = read_json(path)
        try:
            if config.pop("version", 1) != VERSION:
                raise KeyError("version")
            profile, recipes = config.pop("profile"), config.pop("recipes")
            run = cls(from_config(config), profile, opened=Path(folder))
            if recipes != run.config["recipes"]:
                raise KeyError("recipes")
            return run
        except (AttributeError, KeyError, TypeError, UserError) as error:
            raise UserError(
                f"{path} is of another version of dvae_lib, or not of a run ({error}): train the run again, or open it "
                "with the version that provenance.json beside it names."
            ) from error

    @property
    def config(self) -> dict:
        recipes = {name: recipe(name) for name in self.experiment.data}
        return {"version": VERSION, "profile": self.profile} | self.experiment.config() | {"recipes": recipes}

    @property
    def folder(self) -> Path:
        return self.opened or folder_of(self.experiment.name, self.config, self.profile)

    @property
    def trained(self) -> bool:
        complete = all((self.folder / name).exists() for name in (WEIGHTS, EVALUATION, ERRORS))
        return complete and self.evaluation.items() >= self._evaluated.items()

    @property
    def _evaluated(self) -> dict:
        """The current version of the evaluation: one of another version is recomputed, without training."""
        name, _ = locate(self.experiment.data[0], "validation", self.experiment.purpose)
        return {"format": FORMAT, "recipe": recipe(name)}

    @property
    def evaluation(self) -> dict:
        return read_json(self.folder / EVALUATION)

    @property
    def provenance(self) -> dict[str, str]:
        """Profile, date, hardware and version of the training run; “not kept” if unknown."""
        unknown = {"profile": self.profile} | dict.fromkeys(("date", "hardware", "version"), "not kept")
        return read_json(self.folder / PROVENANCE) if (self.folder / PROVENANCE).exists() else unknown

    @property
    def errors(self) -> dict[str, dict[str, torch.Tensor]]:
        """Each validation sample's errors (N,), by source and by quantity: see `evaluation.Evaluation`."""
        errors: dict[str, dict[str, torch.Tensor]] = {}
        for name, values in load_file(self.folder / ERRORS).items():
            source, quantity = name.split("/")
            errors.setdefault(source, {})[quantity] = values
        return errors

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The training curves: step, loss and the terms of Eq. 1, each an array (NaN where not logged)."""
        lines = read_metrics(self.folder)
        names = dict.fromkeys(name for line in lines for name in line)
        return {name: np.array([line.get(name, np.nan) for line in lines]) for name in names}

    def build(self) -> Model:
        """The untrained model, as at the start of training."""
        return self.experiment.build()

    def load(self) -> Model:
        """The trained model, on the CPU, in evaluation mode."""
        model = self.build()
        load_weights(model, self.folder / WEIGHTS)
        return model.eval()

    def source(self, part: Part = "validation") -> Any:
        """The source of the samples of a part of the first data set, for what is not prepared, such as scenes."""
        e, name = self.experiment, self.experiment.data[0]
        other, options = locate(name, part, e.purpose, **e.options.get(name, {}))
        return open_source(other, **options)

    def subsets(self, part: Part) -> list[tuple[Dataset, np.ndarray]]:
        """The data sets, with the indices of their samples in a part: see `datasets.open_part`.

        For parts other than "train" and "final", only the first data set.
        """
        e = self.experiment
        names = e.data if part in ("train", "final") else e.data[:1]
        return [open_part(name, e.crop, part, e.purpose, **e.options.get(name, {})) for name in names]

    def units(self, part: Part) -> np.ndarray:
        """The unit, a group of dependent samples, of each sample (N,) of a part of the first data set: see
        `datasets.units`.
        """
        return units(*self.subsets(part)[0])

    @property
    def learnt_from(self) -> Part:
        """The part used for training. The study's runs are evaluated on the test set, so they are also trained on
        validation samples, except for those that are monitored on these.
        """
        return "final" if self.profile == "study" and not getattr(self.experiment, "watched", None) else "train"

    def batches(self, part: Part, batch_size: int = 256, device: torch.device | str = "cpu") -> Batches:
        """Batches of the samples of a part, without augmentation."""
        e = self.experiment
        subsets = [Subset(d, indices, tags=tag_candidates(d, part, indices)) for d, indices in self.subsets(part)]
        return Batches(subsets, batch_size, e.images(), root_joint=e.root_joint, device=device)

    def training_batches(
        self, stage: str, device: torch.device | str = "cpu", rank: int = 0, world: int = 1
    ) -> Batches:
        """The batches of a training stage: from the first data set what its labels allow (Sec. 4.4), from others all.

        A batch has equal shares of the subsets; if the experiment's `mixture` is natural, the subsets of the first data
        set have shares in proportion to their sizes. The batch size is fixed, so no run sees more images than others.
        Raises UserError if there is no sample.
        """
        e = self.experiment
        (dataset, indices), *others = self.subsets(self.learnt_from)
        own = (Subset(dataset, *labels) for labels in e.supervision(stage, indices))
        known = (e.known(stage, name) for name in e.data[1:])
        more = (Subset(*other, labels) for other, labels in zip(others, known, strict=True) if labels is not None)
        subsets = [subset for subset in (*own, *more) if len(subset.indices)]
        if not subsets:
            raise UserError(f"{e.name}: of {len(indices)} training samples none has labels: set a larger “labelled”.")
        shares = e.divide([len(subset.indices) for subset in subsets])
        return Batches(
            subsets, e.batch, e.images(stage), e.augmentation, e.root_joint, e.seed, device, rank, world, shares=shares
        )

    def train(self, device: str = "auto", devices: int = 1, nodes: int = 1, quiet: bool = False) -> None:
        """Trains to the end, resuming where possible, and evaluates; does nothing if this is done.

        If another process is training the run, waits for it. device, devices, nodes: see `distributed.make_fabric`.
        quiet: without a progress bar.
        """
        if self.trained:
            return
        fabric = make_fabric(device, devices, nodes, self.experiment.precision)
        waiting = f"Another process is training {self.experiment.name}: waiting for it."
        with exclusive_lock(self.folder / ".lock", waiting) if fabric.is_global_zero else nullcontext():
            if fabric.broadcast(not self.trained):
                self._train(fabric, quiet)
            fabric.barrier()

    def _train(self, fabric: Fabric, quiet: bool) -> None:
        e = self.experiment
        if not (self.folder / WEIGHTS).exists():
            share = fabric.device, fabric.global_rank, fabric.world_size
            stages = [(stage, self.training_batches(stage.name, *share)) for stage in e.stages]
            if fabric.is_global_zero:
                write_json(self.folder / CONFIG, self.config)
                write_json(self.folder / PROVENANCE, {"profile": self.profile} | _circumstances(fabric))
            train(
                self.build(), stages, self.folder, fabric,
                lr=e.lr, decay=e.decay, seed=e.seed, description=e.name, quiet=quiet, watch=self._watch(fabric.device),
            )  # fmt: skip
        if fabric.is_global_zero:
            # MPS lacks the singular value decomposition that projects to a rotation.
            self._evaluate(fabric.device if fabric.device.type == "cuda" else torch.device("cpu"))

    def _watch(self, device: torch.device) -> Watch | None:
        every = getattr(self.experiment, "watched", None)
        return Watch(next(self.batches("validation", device=device).in_order()), every) if every else None

    def evaluate(self, model: Model, part: Part, device: torch.device | str = "cpu") -> Evaluation:
        """Evaluates the trained model, which is on this device, on a part of the first data set."""
        root_joint, learnt_from = self.experiment.root_joint, self.subsets(self.learnt_from)[:1]
        average = mean_labels(Batches(learnt_from, 256, [], root_joint=root_joint).in_order())
        return evaluate(model, self.batches(part, device=device).in_order(), average, root_joint)

    def _evaluate(self, device: torch.device) -> None:
        model = self.load().to(device)
        evaluation = self.evaluate(model, "validation", device)
        for name, score in evaluation.scores.items():
            score.to_csv(self.folder / f"pck-{name.replace(' ', '-')}.csv")
        flat = {
            f"{source}/{quantity}": values
            for source, errors in evaluation.errors.items()
            for quantity, values in errors.items()
        }
        with atomic_write(self.folder / ERRORS) as temporary:
            temporary.write_bytes(as_bytes(flat))
        write_json(self.folder / EVALUATION, self._evaluated | evaluation.report)


def _circumstances(fabric: Fabric) -> dict[str, str]:
    if fabric.device.type == "cuda":
        hardware = f"{fabric.world_size} × {torch.cuda.get_device_name(fabric.device)}"
    else:
        hardware = f"{os.cpu_count()} CPU cores" + (f" × {fabric.world_size}" if fabric.world_size > 1 else "")
    return {"date": date.today().isoformat(), "hardware": hardware, "version": _version()}


def _version() -> str:
    """The commit of a checkout; elsewhere, or without git, the package's version."""
    if not Path(__file__).resolve().is_relative_to(settings.ROOT / "dvae_lib"):
        return __version__  # the working folder may be another repository
    command = ["git", "-C", str(settings.ROOT), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return __version__


def every_run(profile: str | None = None, data: str | None = None, root_joint: Root | None = None) -> dict[str, Run]:
    """All runs of a profile on some data, trained or not, by name; missing arguments are taken from `settings`."""
    profile = profile or settings.profile()
    return {name: Run(experiment, profile) for name, experiment in experiments(profile, data, root_joint).items()}


def load_or_train(name: str, profile: str | None = None, data: str | None = None, **overrides: Any) -> Run:
    """The run of this name, trained now if it is not yet. With overrides, such as beta=1.0, it is a separate run."""
    run = Run(find(name, profile, data).with_overrides(**overrides), profile or settings.profile())
    run.train()
    return run
