"""Training: algorithms as stages, the loop that runs them, checkpoints, several processes, interruptions."""

from dvae_lib.training.algorithms import Stage, algorithm_1, algorithm_2, cross_modal, joint_objective, regression
from dvae_lib.training.loop import BatchSource, learning_rate, train, update

__all__ = [
    "BatchSource",
    "Stage",
    "algorithm_1",
    "algorithm_2",
    "cross_modal",
    "joint_objective",
    "learning_rate",
    "regression",
    "train",
    "update",
]
