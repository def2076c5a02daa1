"""Every run of the book as data, in three profiles; `load_or_train(name)` is what chapters call.

A run lives in runs/<profile>/<name>-<hash of its configuration>/. The same configuration, on data made by the same
recipe, is the same folder: trained once, loaded ever after.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import filelock
import numpy as np
import torch
from lightning_fabric import Fabric

from dvae_lib import settings
from dvae_lib.datasets import RECIPES, open_dataset, split
from dvae_lib.datasets.batches import Augmentation, Batches
from dvae_lib.datasets.cache import Dataset
from dvae_lib.evaluation import evaluate, mean_pose
from dvae_lib.files import UserError, read_json, write_json
from dvae_lib.models import CrossModalVAE, modality
from dvae_lib.training import WEIGHTS, load_weights, read_metrics, train

CONFIG, EVALUATION = "config.json", "evaluation.json"


@dataclass(frozen=True)
class Experiment:
    """One run: what is learnt, from what, and for how long. The defaults are the papers' where they say."""

    name: str
    about: str  # one line for `dvae list`
    weights: dict[str, float]  # the modalities, each with its λ in Eq. 1
    encoded: tuple[str, ...]  # those that have an encoder
    schedule: str = "joint"  # or "alternating"
    data: tuple[str, ...] = ("synth-stb",)  # a batch takes equal shares; the run is tested on the first
    options: dict[str, dict] = field(default_factory=dict)  # of each data set
    size: int = 256  # pixels of the crop (supplement, Sec. B)
    d: int = 64  # dimensions of z (Sec. 4.1)
    beta: float = 0.01  # Sec. 4.1, for pose; like the λ of poses given for 256 pixels and rescaled to `size`
    width: int = 1  # kernels of the image decoder, times the supplement's
    resnet: str = "random"  # start of ResNet-18, or "imagenet"
    steps: int = 150_000  # not given in the paper
    batch: int = 32  # Sec. 4.1
    lr: float = 1e-4  # Sec. 4.1
    decay: bool = False  # of the learning rate, to zero
    precision: str = "bf16-mixed"
    augmentation: Augmentation = Augmentation(rotation=180.0, flip=True)  # Sec. 4.4
    seed: int = 0

    @property
    def images(self) -> list[str]:
        return [name for name in self.weights if name in ("image", "depth")]


_CROSS_MODAL = Experiment(
    "cross-modal",
    "image, keypoints and pose in one latent, jointly",
    weights={"image": 2e-5, "keypoints": 1.0, "pose": 1.0},
    beta=0.004,
    encoded=("image", "keypoints", "pose"),
)

_EXPERIMENTS: dict[str, list[Experiment]] = {
    "synthetic": [
        Experiment("vae-pose", "a plain VAE of hand poses", weights={"pose": 1.0}, encoded=("pose",)),
        _CROSS_MODAL,
        replace(
            _CROSS_MODAL,
            name="cross-modal-alternating",
            about="the same, one input a step (Spurr et al.)",
            schedule="alternating",
        ),
        replace(
            _CROSS_MODAL,
            name="cross-modal-depth",
            about="depth in place of colour",
            weights={"depth": 2e-5, "pose": 1.0},
            encoded=("depth", "pose"),
        ),
    ],
    "realhand": [
        replace(_CROSS_MODAL, data=("realhand",), about="photographs, augmented"),
        replace(
            _CROSS_MODAL,
            name="cross-modal-plain",
            about="photographs as they are",
            data=("realhand",),
            augmentation=Augmentation(),
        ),
        replace(
            _CROSS_MODAL,
            name="cross-modal-mixed",
            about="photographs and as many rendered hands, augmented",
            data=("realhand", "synth-rhd"),
        ),
    ],
}

_LAPTOP_STEPS = {
    "synth-stb": {
        "vae-pose": 8000,
        "cross-modal": 2000,
        "cross-modal-alternating": 2000,
        "cross-modal-depth": 800,
    },
    "realhand": dict.fromkeys(("cross-modal", "cross-modal-plain", "cross-modal-mixed"), 1200),
}
# Short runs see a pose a few times only: turning it all the way round would ask for more than they can learn. The
# few photographs are moved and zoomed as well; rendered hands are not, since a pose cannot tell where its hand is, and
# the images drawn from poses would blur.
_LAPTOP_AUGMENTATION = {
    "synth-stb": Augmentation(rotation=20.0, colour=0.25, background=0.7),
    "realhand": Augmentation(rotation=30.0, zoom=0.12, shift=0.05, colour=0.3),
}
# A small network on 63 numbers takes a higher rate, and is to model the poses of its data set, not any turn of them.
_LAPTOP_OWN = {"vae-pose": {"batch": 64, "lr": 5e-3, "augmentation": Augmentation(rotation=20.0)}}


def _sized(experiment: Experiment, profile: str) -> Experiment:
    """What a profile makes of an experiment, whose own values are those of `full`."""
    if profile == "full":
        return experiment
    if profile == "smoke":
        options = {"synth-stb": {"frames_per_sequence": 16}, "synth-rhd": {"count": 128}}
        small = replace(experiment, size=32, steps=4, batch=8)
    else:
        options = {"synth-stb": {"frames_per_sequence": 750}, "synth-rhd": {"count": 6000}}
        augmented = experiment.augmentation != Augmentation()
        small = replace(
            experiment,
            size=64,
            steps=_LAPTOP_STEPS[experiment.data[0]][experiment.name],
            lr=1e-3,
            decay=True,
            augmentation=_LAPTOP_AUGMENTATION[experiment.data[0]] if augmented else experiment.augmentation,
            width=2,
        )
        small = replace(small, **_LAPTOP_OWN.get(experiment.name, {}))
    return replace(small, options={name: options[name] for name in experiment.data if name in options})


def experiments(profile: str | None = None, data: str | None = None) -> dict[str, Experiment]:
    """All experiments of a profile on some data, by name."""
    profile, data = profile or settings.profile(), data or settings.data()
    return {e.name: _sized(e, profile) for e in _EXPERIMENTS[data]}


def find(name: str, profile: str | None = None, data: str | None = None) -> Experiment:
    """Raises UserError, naming what there is, if there is no such experiment."""
    known = experiments(profile, data)
    if name not in known:
        raise UserError(f"There is no experiment “{name}” on {data or settings.data()} data: {', '.join(known)}.")
    return known[name]


@dataclass
class Run:
    """An experiment and the folder where it was, or will be, trained."""

    experiment: Experiment
    profile: str

    @property
    def config(self) -> dict:
        return dataclasses.asdict(self.experiment) | {"recipes": {name: RECIPES[name] for name in self.experiment.data}}

    @property
    def folder(self) -> Path:
        digest = hashlib.sha256(json.dumps(self.config, sort_keys=True).encode()).hexdigest()[:8]
        return settings.runs_root() / self.profile / f"{self.experiment.name}-{digest}"

    @property
    def trained(self) -> bool:
        return (self.folder / EVALUATION).exists()

    @property
    def evaluation(self) -> dict:
        return read_json(self.folder / EVALUATION)

    @property
    def metrics(self) -> dict[str, np.ndarray]:
        """The training curves: step, loss and the terms of Eq. 1, each an array (NaN where not logged)."""
        lines = read_metrics(self.folder)
        names = dict.fromkeys(name for line in lines for name in line)
        return {name: np.array([line.get(name, np.nan) for line in lines]) for name in names}

    def build(self) -> CrossModalVAE:
        e = self.experiment
        torch.manual_seed(e.seed)
        modalities = [modality(name, e.size, weight) for name, weight in e.weights.items()]
        return CrossModalVAE(modalities, e.d, e.beta, e.encoded, e.resnet, e.width)

    def load(self) -> CrossModalVAE:
        """The trained model, on the CPU, ready to be asked."""
        model = self.build()
        load_weights(model, self.folder / WEIGHTS)
        return model.eval()

    def parts(self, which: str) -> list[tuple[Dataset, np.ndarray]]:
        """The data sets with the indices of their "train" or "test" samples; only the first is tested on."""
        e = self.experiment
        names = e.data if which == "train" else e.data[:1]
        sets = [open_dataset(name, e.size, **e.options.get(name, {})) for name in names]
        return [(dataset, split(dataset)[which == "test"]) for dataset in sets]

    def batches(self, which: str, batch_size: int = 256) -> Batches:
        """Batches of the "train" or "test" samples as they are, without augmentation."""
        return Batches(self.parts(which), batch_size, self.experiment.images)

    def train(self, device: str = "auto") -> None:
        """Trains to the end, or from where it was left, and evaluates; does nothing if that is done."""
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(self.folder / ".lock")
        with lock:
            if not self.trained:
                self._train(device)

    def _train(self, device: str) -> None:
        e = self.experiment
        write_json(self.folder / CONFIG, self.config)
        fabric = Fabric(accelerator=device, devices=1, precision=e.precision)
        fabric.launch()
        model = self.build()
        if not (self.folder / WEIGHTS).exists():
            batches = Batches(self.parts("train"), e.batch, e.images, e.augmentation, seed=e.seed, device=fabric.device)
            train(
                model, batches, self.folder, fabric, steps=e.steps, lr=e.lr, decay=e.decay,
                schedule=e.schedule, seed=e.seed, description=e.name,
            )  # fmt: skip
        model = self.load()
        average = mean_pose(Batches(self.parts("train")[:1], 256, []).in_order())
        write_json(self.folder / EVALUATION, evaluate(model, self.batches("test").in_order(), average))


def load_or_train(name: str, profile: str | None = None, data: str | None = None) -> Run:
    """The run of this name, trained now if it is not yet."""
    run = Run(find(name, profile, data), profile or settings.profile())
    run.train()
    return run
