"""What a run is made of: an experiment, with the papers' values for defaults where they say them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.files import UserError
from dvae_lib.hand import Root
from dvae_lib.models.modalities import Modality, modality
from dvae_lib.models.objectives import rescale_to_resolution
from dvae_lib.training import Stage, algorithm_1, algorithm_2, cross_modal, joint_objective, regression

_FIXED = ("name", "about", "root", "options", "augmentation")  # what `Experiment.changed` leaves alone


@dataclass(frozen=True)
class Experiment:
    """One run: what is learnt, from what, and for how long. The defaults are the papers' where they say."""

    name: str
    about: str  # one line for `dvae list`
    weights: dict[str, float]  # all that is decoded, each with its λ
    encoded: tuple[str, ...] = ()  # of a cross-modal VAE: what has an encoder
    factors: dict[str, int] = field(default_factory=dict)  # of a dVAE: dimensions of each factor's part of z
    unlabelled: int = 0  # dimensions of z_u, encoded from the image
    embeddings: tuple[str, ...] = ()  # of a dVAE: what is encoded to the whole z afterwards
    shared: bool = False  # decoders of image and pose with shared layers (supplement, Table 3)
    schedule: str = "joint"  # a cross-modal VAE's, or "alternating"; of a dVAE "algorithm 1", "algorithm 2" or
    # "joint"; or "regression"
    data: tuple[str, ...] = ("synth-stb",)  # a batch takes equal shares; the run is tested on the first
    labelled: float = 1.0  # share of the first data set's training samples that have labels, from the first on
    unlabelled_poses: bool = False  # semi-supervised: the others' poses are learnt from too, but not their images
    weak: tuple[str, ...] | None = None  # weakly supervised: labels of the others' images; None: these are left out
    options: dict[str, dict] = field(default_factory=dict)  # of each data set
    root: Root = "palm"  # what poses are relative to: not said in the paper, and the protocol's that it follows
    size: int = 256  # pixels of the crop (supplement, Sec. B)
    d: int = 64  # dimensions of z (Sec. 4.1); a dVAE has those of its parts
    beta: float = 0.01  # Sec. 4.1, for pose; like the λ of poses given for 256 pixels and rescaled to `size`
    width: int = 1  # kernels of the image decoder, times the supplement's
    resnet: str = "random"  # start of ResNet-18, or "imagenet"
    steps: int = 150_000  # of a dVAE T1; not given in the paper
    inner: int = 1  # T2 of Algorithm 2
    embedding_steps: int = 50_000  # T2 of Algorithm 1, T3 of Algorithm 2
    on_hand: float = 1.0  # precision of the image's likelihood on the hand, as a multiple of that elsewhere
    batch: int = 32  # Sec. 4.1
    lr: float = 1e-4  # Sec. 4.1
    decay: bool = False  # of the learning rate, to zero
    precision: str = "bf16-mixed"
    augmentation: Augmentation = Augmentation(rotation=180.0, flip=True)  # Sec. 4.4
    seed: int = 0

    def changed(self, assignments: Sequence[str]) -> "Experiment":
        """This with other values, each as "name=value", the value in JSON.

        Raises UserError if there is no such name, if it is another value's sum, or if the value is of another kind than
        the one it replaces.
        """
        values = {}
        for assignment in assignments:
            name, _, text = assignment.partition("=")
            present = asdict(self).get(name)
            if name == "d" and self.factors:
                parts = f"factors='{json.dumps(self.factors)}'"
                raise UserError(f"“{assignment}”: a dVAE's d is the sum of its parts. Set these, as in {parts}.")
            if not isinstance(present, int | float | str | dict) or name in _FIXED:
                raise UserError(
                    f"“{assignment}” sets nothing of an experiment: try beta=1, d=32, steps=500 or lr=0.001."
                )
            try:
                value = json.loads(text)
            except ValueError:
                value = text
            kinds = (int, float) if isinstance(present, float) else (type(present),)
            if type(value) not in kinds:
                raise UserError(f"“{assignment}” is of another kind than the value that it replaces, {present!r}.")
            values[name] = type(present)(value)
        return replace(self, **values)

    def images(self, stage: str | None = None) -> list[str]:
        """What batches have to load in a stage; of none, in any. Embeddings are left alone in the disentangling."""
        embeddings = () if stage == "disentangling" else self.embeddings
        encoded = ("image",) if self.schedule == "regression" else self.encoded
        names = [name for name in (*self.weights, *encoded, *embeddings) if name in ("image", "depth", "tag")]
        return [*dict.fromkeys(names), *(["hand"] if self.on_hand != 1 else [])]

    def rescaled(self) -> tuple[dict[str, Modality], float]:
        """What is decoded, with the λ that take effect, and the β: see `objectives.rescale_to_resolution`."""
        full = {name: modality(name, self.size, weight) for name, weight in self.weights.items()}
        size = self.size if any(m.is_image for m in full.values()) else 256
        scaled = {
            name: m if m.is_image else replace(m, weight=rescale_to_resolution(m.weight, size))
            for name, m in full.items()
        }
        return scaled, rescale_to_resolution(self.beta, size)

    @property
    def purpose(self) -> str:
        """Which of the splits: a tag image can only name a background that was learnt."""
        return "synthesis" if self.factors and "image" in self.weights else "pose"

    @property
    def stages(self) -> list[Stage]:
        if self.schedule == "regression":
            return regression(self.steps)
        if not self.factors:
            return cross_modal(self.schedule, self.encoded, self.steps)
        embedding = self.embedding_steps if self.embeddings else 0
        if self.schedule == "algorithm 1":
            return algorithm_1(self.steps, embedding)
        if self.schedule == "algorithm 2":
            return algorithm_2(self.steps, self.inner, embedding)
        return joint_objective(self.steps)
