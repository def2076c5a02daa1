"""Samples that lie on the device make the batches that samples on disk make."""

import weakref

import numpy as np
import pytest
import torch

from dvae_lib.datasets.augmentation import Augmentation
from dvae_lib.datasets.batches import Batches
from dvae_lib.datasets.resident import fits, on_device
from tests.helpers.batches import FakeDataset, TaggedDataset


def datasets():
    tagged, masked = TaggedDataset(), TaggedDataset()
    for dataset in (tagged, masked):
        dataset.arrays["mask"] = (dataset.arrays["depth"][:, :32, :32] % 4).astype(np.uint8)
        dataset.arrays["depth"] = dataset.arrays["depth"][:, :32, :32].astype(np.uint16)
    masked.arrays["palm"] = masked.arrays["pose"][:, 13].copy()
    return tagged, masked


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(rotation=90.0, colour=0.3, background=0.5)])
def test_resident_samples_make_the_same_batches(augmentation):
    subsets = [(dataset, np.arange(2, 48)) for dataset in datasets()]
    names = ("image", "depth", "hand", "tag")
    stored, resident = (Batches(subsets, 8, names, augmentation, seed=3, resident=where) for where in (False, True))
    for step in (0, 7):
        ours, theirs = resident.batch(step), stored.batch(step)
        assert ours.keys() == theirs.keys()
        for name, values in theirs.items():
            assert torch.equal(ours[name], values), name
    for ours, theirs in zip(resident.in_order(), stored.in_order(), strict=True):
        assert all(torch.equal(ours[name], values) for name, values in theirs.items())


def test_a_field_is_copied_once_and_let_go_with_its_last_user():
    dataset = FakeDataset()
    first, second = (Batches([(dataset, np.arange(40))], 8, resident=True) for _ in range(2))
    image = on_device(dataset, "image", "cpu")
    assert image is on_device(dataset, "image", "cpu") and torch.equal(image, torch.from_numpy(dataset["image"]))
    alive = weakref.ref(image)
    del image, first
    assert alive() is not None
    del second
    assert alive() is None


def test_a_processor_keeps_no_data_set_in_memory_unasked():
    assert not fits([(FakeDataset(), "image")], "cpu")
