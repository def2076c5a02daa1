"""Tag images: the same content in another sequence."""

import numpy as np
import pytest
import torch

from dvae_lib.datasets.batches import Batches
from dvae_lib.datasets.tags import Tags
from dvae_lib.files import UserError
from tests.helpers.batches import FakeDataset, TaggedDataset


def test_tags_show_the_same_content_in_another_sequence():
    dataset = TaggedDataset()
    tags, samples = Tags(dataset, np.arange(0, 48)), np.arange(48)
    drawn = tags.draw(samples, np.random.default_rng(0))
    assert (dataset["content"][drawn] == dataset["content"][samples]).all()
    assert (dataset["sequence"][drawn] != dataset["sequence"][samples]).all()
    assert len(set(drawn)) > 15
    held_out = np.arange(0, 24)
    assert set(Tags(dataset, held_out).draw(held_out, np.random.default_rng(0))) <= set(held_out)


def test_a_batch_brings_tags_that_are_a_function_of_the_step():
    dataset = TaggedDataset()
    first, again, next_ = (Batches([(dataset, np.arange(48))], 6, ["image", "tag"]).batch(s)["tag"] for s in (3, 3, 4))
    assert torch.equal(first, again) and not torch.equal(first, next_)
    chosen = Batches([(dataset, np.arange(48))], 6, ["image", "tag"]).indices(3)[0]
    images = torch.from_numpy(dataset["image"]).float() / 127.5 - 1
    images[dataset["right"]] = images[dataset["right"]].flip(-1)
    for sample, tag in zip(chosen, first, strict=True):
        source = (images - tag).flatten(1).norm(dim=1).argmin().item()
        torch.testing.assert_close(images[source], tag, atol=0.02, rtol=0)
        assert dataset["content"][source] == dataset["content"][sample]


def test_data_without_contents_has_no_tags():
    dataset = FakeDataset()
    dataset.name = "plain"
    with pytest.raises(UserError, match="plain has no labels of the background"):
        Tags(dataset, np.arange(4))
    lonely = TaggedDataset()
    with pytest.raises(UserError, match="only the sequence a shows the background 0"):
        Tags(lonely, np.flatnonzero(lonely["sequence"] != 1))
