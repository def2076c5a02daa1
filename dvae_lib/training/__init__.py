"""Training: algorithms as stages, the loop that runs them, checkpoints, several processes, interruptions."""

from dvae_lib.training.algorithms import Stage, algorithm_1, algorithm_2, both_at_once, cross_modal, regression
from dvae_lib.training.loop import Supply, learning_rate, train, update

__all__ = [
    "Stage",
    "Supply",
    "algorithm_1",
    "algorithm_2",
    "both_at_once",
    "cross_modal",
    "learning_rate",
    "regression",
    "train",
    "update",
]
