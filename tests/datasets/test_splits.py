"""The splits on the sequences that the data sets have: what is tested on is what the docstrings say."""

import numpy as np
import pytest

from dvae_lib.datasets import open_dataset, open_source, split
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.files import UserError

STB = [f"B{b}{kind}" for b in range(1, 7) for kind in ("Counting", "Random")]


class Prepared(Dataset):
    """The little of a data set that a split looks at, without files."""

    def __init__(self, name, sequences, frames):
        self.name, self.sequences = name, sequences
        self.arrays = {
            "sequence": np.repeat(np.arange(len(sequences), dtype=np.int32), frames),
            "frame": np.tile(np.arange(frames, dtype=np.int32), len(sequences)),
        }

    def __len__(self):
        return len(self.arrays["frame"])

    def __getitem__(self, field):
        return self.arrays[field]


def names(dataset, indices):
    return {dataset.sequences[s] for s in dataset["sequence"][indices]}


@pytest.mark.parametrize("name", ["synth-stb", "stb"])
def test_poses_are_tested_in_front_of_an_unseen_background(name):
    dataset = Prepared(name, STB, 1500)
    train, test = split(dataset, "pose")
    assert names(dataset, test) == {"B1Counting", "B1Random"}
    assert names(dataset, train) == set(STB[2:])
    assert (len(train), len(test)) == (15_000, 3000)  # the literature's counts


@pytest.mark.parametrize("name", ["synth-stb", "stb"])
def test_synthesis_is_tested_on_unseen_poses_before_every_background(name):
    dataset = Prepared(name, STB, 1500)
    train, test = split(dataset, "synthesis")
    assert names(dataset, test) == names(dataset, train) == set(STB)
    assert len(test) == 12 * 300
    assert len(train) == 12 * (1500 - 300 - 2 * 2 * 30)
    for s in range(12):
        a, b = (dataset["frame"][i[dataset["sequence"][i] == s]] for i in (train, test))
        assert np.abs(a[:, None] - b).min() == 31


@pytest.mark.parametrize("purpose", ["pose", "synthesis"])
def test_synth_rhd_is_tested_on_other_people_in_other_actions(purpose):
    dataset = Prepared("synth-rhd", open_source("synth-rhd").sequences, 2)
    train, test = ([name.split() for name in names(dataset, part)] for part in split(dataset, purpose))
    for word, (in_training, in_test) in {2: (16, 4), 4: (31, 8)}.items():  # "training person 3 action 17"
        seen, unseen = {name[word] for name in train}, {name[word] for name in test}
        assert (len(seen), len(unseen), seen & unseen) == (in_training, in_test, set())


@pytest.mark.parametrize("purpose", ["pose", "synthesis"])
def test_photographs_are_tested_on_blocks_of_the_video(purpose):
    train, test = split(Prepared("realhand", ["video"], 583), purpose)
    assert (len(train), len(test)) == (423, 120)


def test_an_unknown_data_set_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="no data set “sbt”: choose one of synth-stb, synth-rhd, stb, rhd, realhand"):
        open_source("sbt")


@pytest.mark.parametrize("purpose, sequences, backgrounds", [("pose", 0, 0), ("synthesis", 12, 6)])
def test_few_rendered_frames_are_split_like_all(purpose, sequences, backgrounds, tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path))
    dataset = open_dataset("synth-stb", 16, frames_per_sequence=20)
    train, test = split(dataset, purpose)
    assert not set(train) & set(test)
    assert 0.15 < len(test) / len(train) < 0.3
    assert len(names(dataset, train) & names(dataset, test)) == sequences
    assert len(set(dataset["content"][train]) & set(dataset["content"][test])) == backgrounds


@pytest.mark.parametrize("purpose", ["pose", "synthesis"])
def test_rhd_is_tested_on_its_own_part(purpose):
    train, test = split(Prepared("rhd", ["training", "evaluation"], 3), purpose)
    assert (train.tolist(), test.tolist()) == ([0, 1, 2], [3, 4, 5])
