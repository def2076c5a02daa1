"""A small training run, and a simulated kill."""

import contextlib

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.datasets.batches import Batches
from dvae_lib.models import CrossModalVAE
from dvae_lib.models.modalities import modality
from dvae_lib.training import cross_modal, train
from tests.helpers.batches import FakeDataset


def keypoints_and_pose():
    torch.manual_seed(0)
    return CrossModalVAE([modality("keypoints", 64), modality("pose", 64)], d=8, beta=0.1)


def fit(folder, steps=12, network=None, dataset=None, schedule="joint", **options):
    network = network or keypoints_and_pose()
    dataset = dataset or FakeDataset()
    batches = Batches([(dataset, np.arange(len(dataset)))], 8, [], Augmentation(rotation=30.0), seed=3)
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = {
        "lr": 1e-3,
        "decay": True,
        "save_every": 4,
        "save_seconds": 0,
        "log_every": 2,
        "seed": 3,
    } | options
    stages = cross_modal(schedule, list(network.encoders), steps)
    train(network, [(stage, batches) for stage in stages], folder, fabric, **settings)
    return network


class Killed(Exception):
    pass


@contextlib.contextmanager
def killed_at(at, monkeypatch):
    """The process dies when it makes the batch of step `at`."""
    original = Batches.batch

    def dying(self, step):
        if step == at:
            raise Killed
        return original(self, step)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Batches, "batch", dying)
        yield
