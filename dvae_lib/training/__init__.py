"""Training: algorithms as stages, the loop that runs them, checkpoints, several processes, interruptions."""

from dvae_lib.training.loop import (
    Adam,
    Stage,
    Supply,
    algorithm_1,
    algorithm_2,
    both_at_once,
    cross_modal,
    learning_rate,
    regression,
    train,
    update,
)

__all__ = [
    "Adam",
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
