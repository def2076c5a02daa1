"""The kinds of experiments, one for each kind of model (chapters 01 and 03 to 07)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch

from dvae_lib.datasets import Purpose
from dvae_lib.datasets.batches import LABELS
from dvae_lib.experiments.experiment import IMAGES, DataSet, Experiment, ModalityName, Paper, Vector
from dvae_lib.experiments.values import Count, NonEmpty, NotNegative, Positive, Share, whole_from
from dvae_lib.models import DVAE, CrossModalVAE, Modality, Regressor, modality
from dvae_lib.models.objectives import rescale_to_resolution
from dvae_lib.models.regressors import Rotation
from dvae_lib.training import Stage, algorithm_1, algorithm_2, cross_modal, joint_objective, regression


@dataclass(frozen=True, kw_only=True)
class VAEExperiment(Experiment):
    """What experiments on VAEs have in common. λ and β are specified for images of 256 pixels."""

    lambdas: Annotated[dict[ModalityName, NotNegative], NonEmpty]  # the decoded modalities, each with its λ
    beta: NotNegative
    width: Count | None = None  # number of kernels of the image decoder, relative to the supplement
    foreground_precision: Positive | None = None  # of the image's likelihood on the hand, relative to that elsewhere

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.lambdas)

    def images(self, stage: str | None = None) -> list[str]:
        """As in any experiment, and the mask of the hand if its likelihood has a precision of its own."""
        return [*super().images(stage), *(["hand"] if self.foreground_precision not in (None, 1) else [])]

    def _obstacles(self) -> dict[str, str | bool]:
        undrawn = not {*IMAGES} & {*self.outputs} and "no image is decoded"
        flat = "image" not in self.outputs and "no colour image is decoded"
        return super()._obstacles() | {"width": undrawn, "foreground_precision": flat}

    def _decoded(self) -> dict[str, Modality]:
        """The decoded modalities, by name."""
        precision = self.foreground_precision or 1.0
        return {
            name: modality(name, self.crop, weight, precision if name == "image" else 1.0)
            for name, weight in self.effective_lambdas.items()
        }

    @property
    def resolution(self) -> int:
        """The size in pixels for which λ and β are rescaled; 256, which changes nothing, if no image is decoded."""
        return self.crop if {*IMAGES} & {*self.outputs} else 256

    @property
    def effective_beta(self) -> float:
        return rescale_to_resolution(self.beta, self.resolution)

    @property
    def effective_lambdas(self) -> dict[str, float]:
        scale = rescale_to_resolution(1.0, self.resolution)
        return {name: w if name in IMAGES else w * scale for name, w in self.lambdas.items()}

    @property
    def paper(self) -> Paper:
        beta = {"pose": 0.01, "synthesis": 100.0}[self.purpose]
        given: Paper = {"beta": (beta, f"Sec. 4.1, for {self.purpose}")}
        if self.width:
            given["width"] = 1, "supplement, Table 1"
        if self.foreground_precision:
            given["foreground_precision"] = 1.0, "Eq. 2: one precision for the whole image"
        return super().paper | given


@dataclass(frozen=True, kw_only=True)
class CrossModalExperiment(VAEExperiment):
    """A cross-modal VAE (chapter 03); with one modality a plain VAE (chapter 01)."""

    encoded: Annotated[tuple[ModalityName, ...], NonEmpty]  # the modalities with an encoder
    schedule: Literal["joint", "alternating"] | None = None  # encoders in each step: all, or one
    d: Count = 64  # dimensions of z
    beta: NotNegative = 0.01
    watched: Count | None = None  # steps between two evaluations on the same validation samples: see `watch`

    kind: ClassVar[str] = "cross-modal VAE"

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.encoded

    def _obstacles(self) -> dict[str, str | bool]:
        return super()._obstacles() | {"schedule": len(self.encoded) == 1 and "only one modality is encoded"}

    @property
    def stages(self) -> list[Stage]:
        return cross_modal(self.schedule or "joint", self.encoded, self.steps)

    def build(self) -> CrossModalVAE:
        torch.manual_seed(self.seed)
        decoded = self._decoded()
        known = decoded | {name: modality(name, self.crop) for name in self.encoded if name not in decoded}
        start, width = self.pretrained or "random", self.width or 1
        return CrossModalVAE(known.values(), self.d, self.effective_beta, self.encoded, start, width, decoded)

    @property
    def paper(self) -> Paper:
        return super().paper | {"d": (64, "Sec. 4.1")}


@dataclass(frozen=True, kw_only=True)
class DisentangledExperiment(VAEExperiment):
    """A disentangled VAE (chapters 04 to 07)."""

    factors: Annotated[dict[ModalityName, Count], NonEmpty]  # dimensions of the slice of each
    unlabelled: Annotated[int, whole_from(0)] = 0  # dimensions of z_u, encoded from the image
    embeddings: tuple[ModalityName, ...] = ()  # modalities that are encoded to the whole z afterwards
    shared: bool = False  # decoders of image and pose with shared layers (supplement, Table 3)
    schedule: Literal["algorithm 1", "algorithm 2", "joint"] = "algorithm 1"
    inner: Count | None = None  # T2 of Algorithm 2
    embedding_steps: Count | None = None  # T2 of Algorithm 1, T3 of Algorithm 2; not given in the paper
    labelled: Share = 1.0  # share of the first data set's training samples that have labels, from the first sample on
    unlabelled_poses: bool = False  # semi-supervised: also trains on the poses of the others, but not on their images
    weak: tuple[Vector, ...] | None = (
        None  # weakly supervised: the known labels of the others' images; None: these images are not used
    )
    mixture: Literal["halves", "natural"] | None = None  # of a batch's images with all labels and with some: equal
    # numbers of both, or as they occur
    embedding_decoders: tuple[Vector, ...] = ()  # decoders that the embedding step also trains; none in Algorithm 1
    without_labels: tuple[DataSet, ...] = ()  # data sets, not the first, whose labels the embedding step does not use

    kind: ClassVar[str] = "disentangled VAE"

    @property
    def d(self) -> int:
        """Dimensions of z."""
        return sum(self.factors.values()) + self.unlabelled

    @property
    def inputs(self) -> tuple[str, ...]:
        return (*self.factors, *(["image"] if self.unlabelled else []), *self.embeddings)

    def _obstacles(self) -> dict[str, str | bool]:
        joint = self.schedule == "joint" and "the schedule “joint” does both steps at once"
        return super()._obstacles() | {
            "inner": self.schedule != "algorithm 2" and "only Algorithm 2 has an inner loop",
            "embedding_steps": joint or (not self.embeddings and "there are no embeddings"),
            "mixture": (self.weak is None or not self.labelled) and "no images have all labels while others have some",
        }

    def _check(self) -> None:
        if apart := set(self.factors) - set(self.lambdas):
            self._refuse(f"the factor “{apart.pop()}” has no λ: every factor is decoded.")
        if self.unlabelled and ("image" not in self.lambdas or "image" in self.factors):
            self._refuse("“unlabelled” is for what an observed image shows besides the factors: decode “image”.")
        if self.schedule == "algorithm 2" and not self.unlabelled:
            self._refuse("Algorithm 2 requires an unlabelled part: set “unlabelled”, or schedule=“algorithm 1”.")
        if self.schedule == "joint" and not self.embeddings:
            self._refuse("the schedule “joint” needs “embeddings”.")
        if self.shared and not {"image", "pose"} <= set(self.lambdas):
            self._refuse("“shared” requires decoders of image and pose: decode both.")
        self._check_supervision()
        super()._check()

    def _check_supervision(self) -> None:
        if self.labelled == 1 and (self.unlabelled_poses or self.weak is not None):
            self._refuse("“unlabelled_poses” and “weak” are for samples without labels: set “labelled” below 1.")
        if self.unlabelled_poses and (self.schedule == "joint" or self.images("disentangling")):
            self._refuse("“unlabelled_poses” requires a disentangling step without images.")
        if self.weak is not None and self.embedding_steps is None:
            self._refuse("“weak” requires an embedding step: there is none.")
        if self.embedding_decoders and (self.embedding_steps is None or self.schedule != "algorithm 1"):
            self._refuse("“embedding_decoders” requires the embedding step of Algorithm 1: there is none.")
        if unknown := set(self.embedding_decoders) - set(self.lambdas):
            self._refuse(f"“embedding_decoders” names “{unknown.pop()}”, which is not decoded.")
        if unknown := set(self.weak or ()) - (set(LABELS) & set(self.lambdas)):
            self._refuse(f"“weak” names “{unknown.pop()}”, which is not a decoded label.")
        if foreign := set(self.without_labels) - set(self.data[1:]):
            self._refuse(f"“without_labels” names {foreign.pop()}, which is not among the data sets after the first.")
        if self.without_labels and self.embedding_steps is None:
            self._refuse("“without_labels” requires an embedding step: there is none.")
        alone = len(self.data) == 1 and self.labelled == 0
        if alone and not (self.unlabelled_poses and self.weak is not None):
            self._refuse("“labelled” is 0 and there is no other data set: no sample has labels.")

    def known(self, stage: str, data: str) -> Sequence[str] | None:
        if data not in self.without_labels:
            return super().known(stage, data)
        return None if stage == "disentangling" else ()

    @property
    def shares(self) -> int:
        return len(self.data) + (self.mixture == "halves")

    def divide(self, sizes: Sequence[int]) -> list[int]:
        if self.mixture != "natural" or len(sizes) == len(self.data):
            return super().divide(sizes)
        labelled, weak, *others = sizes
        share = self.batch // len(self.data)
        first = min(max(1, round(share * labelled / (labelled + weak))), share - 1)
        return [first, share - first, *[share] * len(others)]

    @property
    def purpose(self) -> Purpose:
        """A tag can only specify a background that occurs in training, so synthesis has its own split."""
        return "synthesis" if "image" in self.lambdas else "pose"

    def images(self, stage: str | None = None) -> list[str]:
        """As in any experiment, but the disentangling step does not load what only embeddings need."""
        if stage != "disentangling":
            return super().images(stage)
        return [name for name in super().images(stage) if name not in self.embeddings or name in self.lambdas]

    def supervision(self, stage: str, indices: np.ndarray) -> list[tuple[np.ndarray, Sequence[str]]]:
        """As in Sec. 4.4: in the embedding step, all labels or, with weak supervision, some; in the disentangling step,
        with semi-supervision, also poses without images.
        """
        count = round(self.labelled * len(indices))
        if stage == "disentangling":
            return [(indices if self.unlabelled_poses else indices[:count], LABELS)]
        return [(indices[:count], LABELS), *([] if self.weak is None else [(indices[count:], self.weak)])]

    @property
    def stages(self) -> list[Stage]:
        if self.schedule == "joint":
            return joint_objective(self.steps)
        if self.schedule == "algorithm 2":
            return algorithm_2(self.steps, self.inner or 0, self.embedding_steps or 0)
        return algorithm_1(self.steps, self.embedding_steps or 0, self.embedding_decoders)

    def with_overrides(self, **values: Any) -> Experiment:
        if "d" in values:
            slices = f"factors='{json.dumps(self.factors)}'"
            self._refuse(f"d is the sum of the slices of z: set these, as in {slices}.")
        return super().with_overrides(**values)

    def build(self) -> DVAE:
        torch.manual_seed(self.seed)
        decoded = self._decoded()
        return DVAE(
            # Sorted by name, like the hash of a run's configuration: another order would change the layout of z.
            [(decoded[name], d) for name, d in sorted(self.factors.items())],
            [m for name, m in decoded.items() if name not in self.factors],
            ("image", self.unlabelled) if self.unlabelled else None,
            [decoded.get(name) or modality(name, self.crop) for name in self.embeddings],
            self.effective_beta,
            self.pretrained or "random",
            self.width or 1,
            self.shared,
        )

    @property
    def paper(self) -> Paper:
        lambdas = {name: 0.01 if name in self.factors else 1.0 for name in self.lambdas}
        given: Paper = {"lambdas": (lambdas, "λ_x and λ_y, Sec. 4.1")}
        if len(self.factors) + bool(self.unlabelled) == 2:
            given["factors"] = dict.fromkeys(self.factors, 32), "halves of 64, Sec. 4.1"
            given["unlabelled"] = 32 if self.unlabelled else 0, "half of 64, Sec. 4.1"
        return super().paper | given


@dataclass(frozen=True, kw_only=True)
class RegressionExperiment(Experiment):
    """A regressor, which predicts its targets from images without a latent (chapter 06)."""

    lambdas: Annotated[dict[Vector, Positive], NonEmpty]  # the targets, each with the weight of its squared error
    d: Count = 64  # features between the encoder and the heads
    split: Purpose = "pose"  # the kind of split that is used
    rotation: Rotation | None = None  # how a viewpoint is parameterised: see `models.regressors`

    kind: ClassVar[str] = "regressor"

    @property
    def inputs(self) -> tuple[str, ...]:
        return ("image",)

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(self.lambdas)

    @property
    def purpose(self) -> Purpose:
        return self.split

    @property
    def stages(self) -> list[Stage]:
        return regression(self.steps)

    def build(self) -> Regressor:
        torch.manual_seed(self.seed)
        targets = [modality(name, self.crop, weight) for name, weight in self.lambdas.items()]
        return Regressor(targets, self.d, self.pretrained or "random", rotation=self.rotation or "axis-angle")

    def _obstacles(self) -> dict[str, str | bool]:
        return super()._obstacles() | {"rotation": "viewpoint" not in self.lambdas and "no viewpoint is predicted"}

    @property
    def paper(self) -> Paper:
        return super().paper | {"d": (64, "Sec. 4.1")}


KINDS = {kind.kind: kind for kind in (CrossModalExperiment, DisentangledExperiment, RegressionExperiment)}


def from_config(config: dict[str, Any]) -> Experiment:
    """The experiment of an `Experiment.config`.

    Raises KeyError, TypeError or UserError if it is from another version.
    """
    values = dict(config)
    kind = KINDS[values.pop("kind")]
    return kind(**kind.converted({"about": "", **values}))
