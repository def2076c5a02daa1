"""The digits: who made which, keypoints against what is drawn, no leak in the split."""

import numpy as np
import pytest
import torch
from PIL import Image

from dvae_lib import settings
from dvae_lib.datasets import digits, open_dataset, open_source, split, tag_candidates, units
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.datasets.tags import Tags
from dvae_lib.files import UserError
from dvae_lib.hand import MIDDLE_MCP, project
from tests.helpers import digits_tree

STUDENTS = 4


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four students with ten digits each; one photograph is as large as the camera made it."""
    digits_tree.make(tmp_path, STUDENTS, large=103, unseen=107)
    monkeypatch.setattr(digits, "LABELS", tmp_path / "labels.npz")
    return tmp_path


def test_crop_and_camera_find_the_joints(folder):
    source = open_source("digits", folder=folder)
    samples = source.read(np.arange(len(source)), 96)
    uv = project(torch.tensor(samples["pose"]), torch.tensor(samples["K"])).numpy()
    np.testing.assert_allclose(uv[:, MIDDLE_MCP], 48, atol=0.01)  # the protocol centres the middle MCP
    for image, joints in zip(samples["image"], uv, strict=True):
        for u, v in joints[((joints > 6) & (joints < 90)).all(-1)]:
            window = image[0, int(v) - 3 : int(v) + 4, int(u) - 3 : int(u) + 4].astype(float)
            peak = np.unravel_index(window.argmax(), window.shape)
            assert abs(peak[0] + int(v) - 2.5 - v) <= 1 and abs(peak[1] + int(u) - 2.5 - u) <= 1


def test_schema_labels_and_depth(folder):
    source = open_source("digits", folder=folder)
    assert len(source) == 10 * STUDENTS - 1 and 107 not in [p.number for p in source.photographs]
    samples = source.read(np.array([12, 3]), 32)
    for name, (shape, dtype) in source.fields(32).items():
        assert (samples[name].shape, samples[name].dtype) == ((2, *shape), dtype)
    assert samples["frame"].tolist() == [113, 103] and samples["content"].tolist() == [1, 0]
    assert samples["sequence"].tolist() == [3, 3] and samples["right"].all()
    # Half a pixel a millimetre at a focal length of 1000 pixels: two metres away, and each joint farther by 1 mm.
    np.testing.assert_allclose(samples["pose"][0, :, 2], 2000 + np.arange(21), rtol=1e-5)


def runs(*lengths, start=100, gap=1):
    """Numbers of photographs with the digits given, runs `gap` apart."""
    made, number = {}, start
    for run in lengths:
        for digit in run:
            made[number] = digit
            number += 1
        number += gap - 1
    return made


TEN = list(range(10))


@pytest.mark.parametrize("made, expected", [
    (runs(TEN, TEN), [10, 10]),
    (runs([*TEN[:8], 9], [8], TEN), [10, 10]),  # one made late
    (runs([5], [0, 1, 2, 3, 4, 6, 7, 8, 9]), [10]),  # one made early
    (runs(TEN[:4], TEN[3:], TEN), [11, 10]),  # one made twice
    (runs(TEN, [1], [0, *TEN[2:]]), [10, 10]),  # what the next lacks is the next's, although it was made once before
    (runs(TEN[:9], TEN[4:], gap=16), [9, 6]),  # too far apart
    (runs(TEN[:6], TEN[4:]), [6, 6]),  # two digits in common
])  # fmt: skip
def test_the_order_of_the_numbers_says_who(made, expected):
    assert [len(numbers) for numbers in digits.students(made)] == expected


def test_who_is_who_in_the_real_list():
    known = digits.listed()
    assert len(known) == 2062 and known[-1].student == 206
    of = {p.number: p for p in known}
    assert [of[n].gesture for n in range(5101, 5111)] == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] and of[5108].folder == 3
    whole = [k for k in range(207) if len({p.gesture for p in known if p.student == k}) == 10]
    assert len(whole) == 202 and len(digits.doubts(known)) == 10
    assert "student 121, IMG_5101 to IMG_5110: IMG_5108 is in 3 but shows 7" in digits.doubts(known)
    assert any(doubt.endswith("lacks 0, 1, 2, 3") for doubt in digits.doubts(known))


class WholeSet(Dataset):
    """All pairs of 207 students and ten gestures."""

    def __init__(self):
        student, gesture = np.divmod(np.arange(2070), 10)
        self.name, self.arrays = "digits", {"content": student, "sequence": gesture}


def test_who_and_which_gesture_are_held_out_but_never_both_unseen_from_training():
    dataset = WholeSet()
    student, gesture, parts = dataset["content"], dataset["sequence"], split(dataset)
    assert {name: len(part) for name, part in parts.items()} == {
        "train": 177 * 8, "final": 177 * 9 + 100, "validation": 100 + 177, "test": 200 + 177,
    }  # fmt: skip
    train, validation, test = (set(parts[name].tolist()) for name in ("train", "validation", "test"))
    assert not train & validation and not train & test and not validation & test
    assert set(parts["final"].tolist()) == train | validation
    for part, groups in (("test", (5, 15, 25, 35)), ("validation", (10, 30))):
        own = parts[part]
        unknown = ~np.isin(student[own], student[parts["train"]])
        assert set((student[own][unknown] // 5).tolist()) == set(groups)
        # Of every other student one gesture, each about equally often; all others of that student are known.
        asked = own[~unknown]
        assert len(np.unique(student[asked])) == len(asked) == 177
        assert np.bincount(gesture[asked]).min() >= 15
    assert len(np.unique(units(dataset, parts["test"]))) == 197


def test_a_tag_of_a_held_out_photograph_shows_the_same_student_and_is_not_held_out_for_more():
    dataset = WholeSet()
    student, gesture, parts = dataset["content"], dataset["sequence"], split(dataset)
    for part, later in (("train", "validation"), ("validation", "test"), ("test", None)):
        own = parts[part]
        tags = Tags(dataset, own, tag_candidates(dataset, part, own)).draw(own, np.random.default_rng(0))
        assert (student[tags] == student[own]).all() and (gesture[tags] != gesture[own]).all()
        assert later is None or not set(tags.tolist()) & set(parts[later].tolist())


@pytest.mark.parametrize("damage, message", [
    (lambda f: (f / "Dataset/2/IMG_112.JPG").unlink(), r"IMG_112\.JPG is missing, one of 1 photographs"),
    (lambda f: (f / "Dataset").rename(f / "Data"), r"is not the digits data set: it has no folder “Dataset”"),
])  # fmt: skip
def test_bad_folders_are_named_with_what_to_do(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message + r".* Run `dvae download digits`"):
        open_source("digits", folder=folder)


def test_a_changed_photograph_is_another_data_set(folder):
    first = open_dataset("digits", 16, folder=folder)
    assert open_dataset("digits", 16, folder=folder).folder == first.folder
    path = digits.Photograph(100, 0, 0, 0).path(folder)
    Image.new("RGB", (100, 100)).save(path)
    assert open_dataset("digits", 16, folder=folder).folder != first.folder


@pytest.mark.real_data("digits")
def test_the_photographs_are_right_hands_of_207_students():
    source = digits.DigitsSource(settings.downloaded("digits"))
    samples = source.read(np.arange(0, len(source), 40), 32)
    assert len(source) == 2057 and {p.student for p in source.photographs} == set(range(207))
    bones = np.linalg.norm(samples["pose"][:, 9] - samples["pose"][:, 0], axis=-1)
    assert 75 < np.median(bones) < 110  # mm from the wrist to the middle finger: a hand's
    assert samples["image"].std() > 20
