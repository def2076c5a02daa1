"""The settings of a run that all kinds of models have in common; `kinds` has an experiment for each kind.

Every value is checked when an experiment is created. A setting without effect is None and cannot be set: if no image is
decoded, for example, there is no `width` of the image decoder. Defaults are the paper's values.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, fields, replace
from typing import Annotated, Any, ClassVar, Literal, NoReturn, get_type_hints

import numpy as np

from dvae_lib.datasets import Purpose
from dvae_lib.datasets import pictures as pictures_of
from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.datasets.batches import LABELS
from dvae_lib.experiments.values import Allowed, Count, NonEmpty, Positive, convert, one_of, whole_from, words
from dvae_lib.files import UserError
from dvae_lib.hand import Root
from dvae_lib.models import DVAE, CrossModalVAE, Regressor
from dvae_lib.training import Stage
from dvae_lib.training.distributed import Precision

IMAGES = ("image", "depth", "tag")
VECTORS = ("keypoints", "pose", "cpose", "viewpoint", "place", "content")
_SMALLEST = 32  # pixels of the prepared crops that are loaded if no images are used
_TEXTS = ("about", "reasons")  # describe an experiment, without any effect on it
_FIXED = ("name", "data", "options", "root_joint", *_TEXTS)  # cannot be overridden
_AUGMENTED = {"rotation": 180, "zoom": 1, "shift": 1, "colour": 1, "background": 1, "noise": 1}  # the maximum of each

Name = Annotated[str, Allowed("a word of letters, digits, - and _", lambda s: s.replace("-", "_").isidentifier())]
DataSet = Name
ModalityName = Annotated[str, one_of(*IMAGES, *VECTORS)]
Vector = Annotated[str, one_of(*VECTORS)]
Pixels = Annotated[int, whole_from(16)]
Paper = dict[str, tuple[Any, str]]  # by field: the value in the paper, and its place


@dataclass(frozen=True)
class Experiment(ABC):
    """What all kinds have in common. Raises UserError, stating what is allowed, for an invalid value."""

    name: Name
    about: str = field(compare=False)  # one line for `dvae list`
    _: KW_ONLY
    data: Annotated[tuple[DataSet, ...], NonEmpty] = ("synth-stb",)  # a batch takes equal shares of these;
    # the run is evaluated on the first
    options: dict[str, dict] = field(default_factory=dict)  # by data set, for example which of its samples
    root_joint: Root = "palm"  # what poses are relative to: not stated in the paper; as in the protocol that it follows
    size: Pixels | None = None  # pixels of the crop's side
    pretrained: Literal["random", "imagenet"] | None = None  # initial weights of ResNet-18
    steps: Count = 150_000  # not given in the paper
    batch: Annotated[int, whole_from(2)] = 32
    lr: Positive = 1e-4
    decay: bool = False  # of the learning rate, to zero
    precision: Precision = "bf16-mixed"
    augmentation: Augmentation = Augmentation(rotation=180.0, flip=True)
    seed: Annotated[int, whole_from(0)] = 0
    reasons: dict[str, str] = field(default_factory=dict, compare=False)  # why a field differs from the paper

    kind: ClassVar[str]

    def __post_init__(self) -> None:
        for name, value in self.converted(vars(self)).items():
            object.__setattr__(self, name, value)
        self._check()
        for name, obstacle in self._obstacles().items():
            value = getattr(self, name)
            if obstacle and value is not None:
                self._refuse(f"“{name}” has no effect, as {obstacle}: leave it out, or set it to null.")
            if not obstacle and value is None:
                allowed = words(self._types()[name]).removesuffix(", or null")
                self._refuse(f"“{name}” is missing: it must be {allowed}.")

    @classmethod
    def _types(cls) -> dict[str, Any]:
        types = get_type_hints(cls, include_extras=True)
        return {f.name: types[f.name] for f in fields(cls)}

    @classmethod
    def converted(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Converts values from JSON to the types of the fields.

        Raises UserError, stating what is allowed, for an invalid value, and KeyError if there is no such field.
        """
        types, result = cls._types(), {}
        for name, value in values.items():
            try:
                result[name] = convert(value, types[name])
            except ValueError:
                whose, shown = values.get("name", "an experiment"), json.dumps(value, default=str)
                raise UserError(f"{whose}: “{name}” is {shown}: it must be {words(types[name])}.") from None
        return result

    def _refuse(self, sentence: str) -> NoReturn:
        raise UserError(f"{self.name}: {sentence}")

    def _check(self) -> None:
        """Raises UserError if values are not compatible."""
        pictures = {"image" if name == "tag" else name for name in self._seen if name in IMAGES}
        for data in self.data:
            if lacking := pictures - set(pictures_of(data)):
                self._refuse(f"the data set {data} has no “{lacking.pop()}”.")
        if unknown := set(self.options) - set(self.data):
            self._refuse(
                f"“options” are for {', '.join(unknown)}, which is not among the data: {', '.join(self.data)}."
            )
        if self.batch % self.shares:
            self._refuse(f"“batch” is {self.batch}: it must be a multiple of {self.shares}, to be shared equally.")
        self._check_augmentation()

    def _check_augmentation(self) -> None:
        for name, most in _AUGMENTED.items():
            if not 0 <= getattr(self.augmentation, name) <= most:
                self._refuse(f"“{name}” of the augmentation must be from 0 to {most}.")
        unmasked = [data for data in self.data if "mask" not in pictures_of(data)]
        obstacles = {
            "zoom": not {"image", "depth", "keypoints"} & self._seen and "no images and no keypoints are used",
            "colour": "image" not in self._seen and "no colour image is used",
            "background": unmasked and f"{' and '.join(unmasked)} has no masks of the hands",
        }
        obstacles["noise"] = "keypoints" not in self.inputs and "no keypoints are encoded"
        obstacles["shift"], obstacles["background"] = obstacles["zoom"], obstacles["colour"] or obstacles["background"]
        for name, obstacle in obstacles.items():
            if obstacle and getattr(self.augmentation, name):
                self._refuse(f"“{name}” of the augmentation has no effect, as {obstacle}: set it to 0.")

    def _obstacles(self) -> dict[str, str | bool]:
        """For each field that may be None: why it has no effect here, or a false value."""
        return {
            "size": not self._seen & {*IMAGES} and "no image is encoded or decoded",
            "pretrained": not {*IMAGES} & {*self.inputs} and "no image is encoded",
        }

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """The encoded modalities."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """The decoded modalities."""

    @property
    def _seen(self) -> set[str]:
        return {*self.inputs, *self.outputs}

    @property
    @abstractmethod
    def stages(self) -> list[Stage]:
        """The stages of training, in order."""

    @property
    def purpose(self) -> Purpose:
        """The kind of split that is used."""
        return "pose"

    def images(self, stage: str | None = None) -> list[str]:
        """What batches must load besides labels, in the given stage or, without one, in any."""
        return [name for name in dict.fromkeys((*self.outputs, *self.inputs)) if name in (*IMAGES, "content")]

    @abstractmethod
    def build(self) -> CrossModalVAE | DVAE | Regressor:
        """The model, with random weights determined by the seed."""

    @property
    def crop(self) -> int:
        """The side in pixels of the prepared crops that are loaded."""
        return self.size or _SMALLEST

    @property
    def shares(self) -> int:
        """The maximum number of equally large parts of a batch."""
        return len(self.data)

    def divide(self, sizes: Sequence[int]) -> list[int]:
        """The number of samples in a batch from each subset, given the sizes of the subsets."""
        return [self.batch // len(sizes)] * len(sizes)

    def supervision(self, stage: str, indices: np.ndarray) -> list[tuple[np.ndarray, Sequence[str]]]:
        """The first data set's training samples in a stage, grouped by the labels that the stage may use."""
        return [(indices, LABELS)]

    def known(self, stage: str, data: str) -> Sequence[str] | None:
        """The labels that a stage uses from a data set other than the first; None if it does not use that data set."""
        return LABELS

    def values(self) -> dict[str, Any]:
        """All settings that apply to this experiment, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", *_TEXTS)}
        return {name: value for name, value in named.items() if value is not None}

    def config(self) -> dict[str, Any]:
        """All settings that determine what is trained, in JSON types: `from_config` reads them."""
        values = {name: value for name, value in asdict(self).items() if name not in _TEXTS}
        # These fields were added when the study was already registered: without them, hashes stay the same.
        if not self.augmentation.noise:
            del values["augmentation"]["noise"]
        if not values.get("without_labels", True):
            del values["without_labels"]
        return {"kind": self.kind} | values

    def with_overrides(self, **values: Any) -> "Experiment":
        """A copy with other values, such as beta=1.0. Raises UserError for an unknown setting or an invalid value."""
        settable = [f.name for f in fields(self) if f.name not in _FIXED]
        for name in values:
            if name not in settable:
                self._refuse(f"“{name}” is not among its settings: choose one of {', '.join(settable)}.")
        reasons = {name: why for name, why in self.reasons.items() if name not in values}
        values = self.converted({"name": self.name, **values})
        return replace(self, **values, reasons=reasons | dict.fromkeys(values, "set for this run"))

    @property
    def paper(self) -> Paper:
        """The paper's values of the fields that apply."""
        given = {
            "options": ({}, "all samples, Sec. 4.2"),
            "size": (256, "supplement, Sec. B"),
            "batch": (32, "Sec. 4.1"),
            "lr": (1e-4, "Sec. 4.1"),
        }
        if self.purpose == "pose":
            given["augmentation"] = Augmentation(rotation=180.0, flip=True), "Sec. 4.4"
        return {name: value for name, value in given.items() if getattr(self, name) is not None}


def read_assignments(assignments: Sequence[str]) -> dict[str, Any]:
    """Converts ["beta=1.0"] to {"beta": 1.0}, for `Experiment.with_overrides`: values are JSON or plain words.

    Raises UserError for a text that is not an assignment.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"“{assignment}” is not an assignment such as beta=1, d=32, steps=500 or lr=0.001.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
