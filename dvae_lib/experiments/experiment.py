"""What a run is made of, whatever kind of model it trains; `kinds` has an experiment for each.

Every value is checked when an experiment is made. Where a setting would have no effect it is None, and cannot be set:
where no image is decoded, for example, there is no `width` of the image decoder. Defaults are the paper's values.
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
_SMALLEST = 32  # pixels of the crops from which poses are read without images
_TEXTS = ("about", "reasons")  # say something of an experiment, and change nothing of it
_FIXED = ("name", "data", "options", "root_joint", *_TEXTS)  # what no override changes
_AUGMENTED = {"rotation": 180, "zoom": 1, "shift": 1, "colour": 1, "background": 1, "noise": 1}  # the most of each

Name = Annotated[str, Allowed("a word of letters, digits, - and _", lambda s: s.replace("-", "_").isidentifier())]
DataSet = Name
ModalityName = Annotated[str, one_of(*IMAGES, *VECTORS)]
Vector = Annotated[str, one_of(*VECTORS)]
Pixels = Annotated[int, whole_from(16)]
Paper = dict[str, tuple[Any, str]]  # of a field the value that the paper gives, and where


@dataclass(frozen=True)
class Experiment(ABC):
    """What all kinds have in common. Raises UserError, saying what is allowed, for a value that is not."""

    name: Name
    about: str = field(compare=False)  # one line for `dvae list`
    _: KW_ONLY
    data: Annotated[tuple[DataSet, ...], NonEmpty] = ("synth-stb",)  # a batch takes equal shares of these;
    # the run is tested on the first
    options: dict[str, dict] = field(default_factory=dict)  # of each data set, as which of its samples
    root_joint: Root = "palm"  # what poses are relative to: not said in the paper, and the protocol's that it follows
    size: Pixels | None = None  # pixels of the crop's side
    pretrained: Literal["random", "imagenet"] | None = None  # where ResNet-18 starts
    steps: Count = 150_000  # not given in the paper
    batch: Annotated[int, whole_from(2)] = 32
    lr: Positive = 1e-4
    decay: bool = False  # of the learning rate, to zero
    precision: Precision = "bf16-mixed"
    augmentation: Augmentation = Augmentation(rotation=180.0, flip=True)
    seed: Annotated[int, whole_from(0)] = 0
    reasons: dict[str, str] = field(default_factory=dict, compare=False)  # why a field has not the paper's value

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
        """Values of fields, as JSON has them, as the fields have them.

        Raises UserError, saying what is allowed, for a value that is not, and KeyError if there is no such field.
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
        """Raises UserError where values do not go together."""
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
                self._refuse(f"“{name}” of the augmentation is no number from 0 to {most}.")
        unmasked = [data for data in self.data if "mask" not in pictures_of(data)]
        obstacles = {
            "zoom": not {"image", "depth", "keypoints"} & self._seen and "no image and no keypoints are seen",
            "colour": "image" not in self._seen and "no image in colour is seen",
            "background": unmasked and f"{' and '.join(unmasked)} has no masks of the hands",
        }
        obstacles["noise"] = "keypoints" not in self.inputs and "no keypoints are encoded"
        obstacles["shift"], obstacles["background"] = obstacles["zoom"], obstacles["colour"] or obstacles["background"]
        for name, obstacle in obstacles.items():
            if obstacle and getattr(self.augmentation, name):
                self._refuse(f"“{name}” of the augmentation has no effect, as {obstacle}: set it to 0.")

    def _obstacles(self) -> dict[str, str | bool]:
        """Of each field that may be None: why it has no effect here, or nothing."""
        return {
            "size": not self._seen & {*IMAGES} and "no image is encoded or decoded",
            "pretrained": not {*IMAGES} & {*self.inputs} and "no image is encoded",
        }

    @property
    @abstractmethod
    def inputs(self) -> tuple[str, ...]:
        """All that is encoded."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """All that is decoded."""

    @property
    def _seen(self) -> set[str]:
        return {*self.inputs, *self.outputs}

    @property
    @abstractmethod
    def stages(self) -> list[Stage]:
        """The stages of training, one after another."""

    @property
    def purpose(self) -> Purpose:
        """Which of the splits."""
        return "pose"

    def images(self, stage: str | None = None) -> list[str]:
        """What batches have to load in a stage; of none, in any."""
        return [name for name in dict.fromkeys((*self.outputs, *self.inputs)) if name in (*IMAGES, "content")]

    @abstractmethod
    def build(self) -> CrossModalVAE | DVAE | Regressor:
        """The model, its weights drawn by the seed."""

    @property
    def crop(self) -> int:
        """Pixels of the side of the prepared crops that are read."""
        return self.size or _SMALLEST

    @property
    def shares(self) -> int:
        """How many parts a batch has at most, each as large as the others."""
        return len(self.data)

    def divide(self, sizes: Sequence[int]) -> list[int]:
        """How many samples of a batch come from each of its subsets, of these sizes."""
        return [self.batch // len(sizes)] * len(sizes)

    def supervision(self, stage: str, indices: np.ndarray) -> list[tuple[np.ndarray, Sequence[str]]]:
        """Of the first data set's training samples those that a stage sees, by the labels that it may use."""
        return [(indices, LABELS)]

    def known(self, stage: str, data: str) -> Sequence[str] | None:
        """Which labels a stage sees of another data set than the first; None if it sees nothing of it."""
        return LABELS

    def values(self) -> dict[str, Any]:
        """All that applies to this experiment, by name."""
        named = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("name", *_TEXTS)}
        return {name: value for name, value in named.items() if value is not None}

    def config(self) -> dict[str, Any]:
        """All that says what is trained, as JSON has it: `from_config` reads it."""
        values = {name: value for name, value in asdict(self).items() if name not in _TEXTS}
        # These came when the study was registered: what has none of them keeps its hash.
        if not self.augmentation.noise:
            del values["augmentation"]["noise"]
        if not values.get("without_labels", True):
            del values["without_labels"]
        return {"kind": self.kind} | values

    def with_overrides(self, **values: Any) -> "Experiment":
        """This with other values, as beta=1.0. Raises UserError if no setting has this name, or may have the value."""
        settable = [f.name for f in fields(self) if f.name not in _FIXED]
        for name in values:
            if name not in settable:
                self._refuse(f"“{name}” is not among its settings: choose one of {', '.join(settable)}.")
        reasons = {name: why for name, why in self.reasons.items() if name not in values}
        values = self.converted({"name": self.name, **values})
        return replace(self, **values, reasons=reasons | dict.fromkeys(values, "set for this run"))

    @property
    def paper(self) -> Paper:
        """What the paper gives of the fields that apply."""
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
    """{"beta": 1.0} of ["beta=1.0"], for `Experiment.with_overrides`: values in JSON, or plain words.

    Raises UserError for what is no assignment.
    """
    values = {}
    for assignment in assignments:
        name, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"“{assignment}” sets nothing: write it as in beta=1, d=32, steps=500 or lr=0.001.")
        try:
            values[name] = json.loads(text)
        except ValueError:
            values[name] = text
    return values
