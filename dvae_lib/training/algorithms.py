"""The training algorithms as data: sequences of stages. One stage for the cross-modal VAE, and Algorithms 1 and 2.

Chapters 03 to 05 derive them; `training.loop` runs them.
"""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn


@dataclass(frozen=True)
class Stage:
    """One loop of a training algorithm: the loss that the model computes at a step, and the modules that it trains.

    forward_arg: maps the step within the stage to the argument that the model's forward receives with the batch.
    trainable: maps the model to the modules that are trained; all others are frozen, with their running statistics.
    inner: a loop inside every step, on the same batch (Algorithm 2, lines 7 to 11).
    """

    name: str
    steps: int
    forward_arg: Callable[[int], object]
    trainable: Callable[[Any], Sequence[nn.Module]] = lambda model: [model]
    inner: "Stage | None" = None


def cross_modal(schedule: str, sources: Sequence[str], steps: int) -> list[Stage]:
    """The cross-modal VAE in one stage. “joint” is the dVAE paper's choice (Sec. 2.1): every modality is encoded at
    every step. “alternating” is that of Spurr et al.: one input modality contributes to the loss in each iteration.
    """
    if schedule == "joint":
        return [Stage("joint", steps, lambda step: sources)]
    return [Stage("alternating", steps, lambda step: [sources[step % len(sources)]])]


def algorithm_1(disentangling: int, embedding: int, decoders: Sequence[str] = ()) -> list[Stage]:
    """Algorithm 1: T1 steps of Eq. 2 for all modules except the embedding, then T2 steps of Eq. 4 for the embedding
    only, or also for the decoders of these names.
    """

    def embedded(model: Any) -> Sequence[nn.Module]:
        return [*model.embedding_modules, *(model.decoders[name] for name in decoders)]

    return [
        Stage("disentangling", disentangling, lambda step: "disentangling", lambda model: model.disentangling_modules),
        Stage("embedding", embedding, lambda step: "embedding with decoders" if decoders else "embedding", embedded),
    ]


def algorithm_2(disentangling: int, inner: int, embedding: int) -> list[Stage]:
    """Algorithm 2: Algorithm 1 with Eq. 6, and T2 steps in each of the T1, so that y1 is decoded without z_u."""
    first, last = algorithm_1(disentangling, embedding)
    independence = Stage("independence", inner, lambda step: "independence", lambda model: model.factor_modules)
    return [dataclasses.replace(first, inner=independence), last]


def regression(steps: int) -> list[Stage]:
    """A regressor's only stage: all targets from every image."""
    return [Stage("regression", steps, lambda step: None)]


def joint_objective(steps: int) -> list[Stage]:
    """Eq. 5: both steps of Algorithm 1 at once."""
    return [Stage("joint", steps, lambda step: "joint")]
