"""The splits on the sequences that the data sets have: what is tested on is what the docstrings say."""

import numpy as np
import pytest

from dvae_lib.datasets import open_part, open_source, split
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.files import UserError

PARTS = ("train", "final", "validation", "test")
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


def test_poses_on_stb_are_tested_in_front_of_an_unseen_background():
    dataset = Prepared("stb", STB, 1500)
    parts = split(dataset, "pose")
    assert names(dataset, parts["test"]) == {"B1Counting", "B1Random"}
    assert names(dataset, parts["validation"]) == {"B2Counting", "B2Random"}
    assert names(dataset, parts["train"]) == set(STB[4:]) and names(dataset, parts["final"]) == set(STB[2:])
    assert (len(parts["final"]), len(parts["test"])) == (15_000, 3000)  # the literature's counts


def test_poses_on_synth_stb_are_chosen_in_front_of_an_unseen_background():
    dataset = Prepared("synth-stb", STB, 1500)
    parts = split(dataset, "pose")
    assert parts.keys() == {"train", "validation"}
    assert names(dataset, parts["validation"]) == {"B1Counting", "B1Random"}
    assert names(dataset, parts["train"]) == set(STB[2:])


@pytest.mark.parametrize("name, parts", [("synth-stb", ["train", "validation"]), ("stb", list(PARTS))])
def test_synthesis_holds_out_poses_before_every_background(name, parts):
    dataset = Prepared(name, STB, 1500)
    found = split(dataset, "synthesis")
    assert sorted(found) == sorted(parts)
    held_out = [part for part in parts if part in ("validation", "test")]
    for part in held_out:
        assert names(dataset, found[part]) == names(dataset, found["train"]) == set(STB)
        assert len(found[part]) == 12 * 300
    assert len(found["train"]) == 12 * (1500 - len(held_out) * 300 - 2 * (len(held_out) + 1) * 30)
    for s in range(12):
        frames = {part: dataset["frame"][i[dataset["sequence"][i] == s]] for part, i in found.items()}
        assert min(np.abs(frames["train"][:, None] - frames[part]).min() for part in held_out) == 31
        if "final" in found:
            assert np.abs(frames["final"][:, None] - frames["test"]).min() == 31
            assert set(range(300, 450)) < set(frames["final"])


@pytest.mark.parametrize("purpose", ["pose", "synthesis"])
def test_photographs_are_held_out_in_blocks_of_the_video(purpose):
    parts = split(Prepared("realhand", ["video"], 583), purpose)
    assert {part: len(indices) for part, indices in parts.items()} == {
        "train": 283,
        "final": 423,
        "validation": 120,
        "test": 120,
    }


@pytest.mark.parametrize("purpose", ["pose", "synthesis"])
def test_rhd_is_tested_on_its_own_part(purpose):
    dataset = Prepared("rhd", ["training", "evaluation"], 1000)
    parts = split(dataset, purpose)
    assert parts["final"].tolist() == [*range(1000)] and parts["test"].tolist() == [*range(1000, 2000)]
    assert sorted([*parts["train"], *parts["validation"]]) == [*range(1000)]
    assert len(parts["validation"]) == 66  # as RHD's 2728 of 41 258
    assert np.array_equal(parts["validation"], split(dataset, purpose)["validation"])


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    """Small versions of all parts of the rendered data sets, by set and purpose."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVAE_CACHE_ROOT", str(tmp_path_factory.mktemp("cache")))
        options = {"synth-stb": {"frames_per_sequence": 10}, "synth-rhd": {"count": 500}}
        yield {
            (name, purpose): {part: open_part(name, 16, part, purpose, **options[name]) for part in PARTS}
            for name in options
            for purpose in ("pose", "synthesis")
        }


def values(part, field):
    dataset, indices = part
    return np.asarray(dataset[field])[indices]


def test_no_part_of_rendered_hands_shows_what_another_does(rendered):
    for parts in rendered.values():
        apart = [parts[part] for part in ("train", "validation", "test")]
        rows = [{row.tobytes() for row in values(part, "pose")} for part in apart]
        assert not (rows[0] & rows[1] or rows[0] & rows[2] or rows[1] & rows[2])
        assert np.array_equal(values(parts["final"], "pose"), values(parts["train"], "pose"))  # drawn for it: enough


def test_poses_of_rendered_hands_are_read_before_backgrounds_never_seen(rendered):
    for name, rooms in (("synth-stb", [5, 1, 40]), ("synth-rhd", None)):
        parts = [rendered[name, "pose"][part] for part in ("train", "validation", "test")]
        contents = [set(values(part, "content")) for part in parts]
        assert not (contents[0] & contents[1] or contents[0] & contents[2] or contents[1] & contents[2])
        if rooms:
            assert list(map(len, contents)) == rooms
            assert all((values(part, "proportions") == values(parts[0], "proportions")[0]).all() for part in parts)
    train, validation, test = (rendered["synth-rhd", "pose"][part] for part in ("train", "validation", "test"))
    builds = [{row.tobytes() for row in values(part, "proportions")} for part in (train, validation, test)]
    assert len(builds[0]) == 16 and len(builds[1]) == 12 and not (builds[0] & builds[1] or builds[0] & builds[2])


def test_synthesis_is_tested_on_new_motion_in_the_same_rooms(rendered):
    train, test = (rendered["synth-stb", "synthesis"][part] for part in ("train", "test"))
    for field in ("content", "light", "proportions"):
        seen, tested = ({row.tobytes() for row in values(part, field)} for part in (train, test))
        assert seen == tested
    assert np.linalg.norm(values(train, "angles")[:, None] - values(test, "angles"), axis=-1).min() > 0.01


def test_an_unknown_data_set_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="no data set “sbt”: choose one of synth-stb, .* stb, rhd, realhand"):
        open_source("sbt")
