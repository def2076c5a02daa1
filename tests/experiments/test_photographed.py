"""Pose transfer measured against photographs: the same student made the other's gesture."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dvae_lib.datasets import digits, tag_candidates
from dvae_lib.experiments import counterfactuals, find
from dvae_lib.experiments.records import measure
from dvae_lib.experiments.run import Run
from dvae_lib.models.regressors import Regressor
from tests.helpers import digits_tree

STUDENTS = 56  # so that a whole student is held out for validation, and another for the test


@pytest.fixture(scope="module", autouse=True)
def tree(tmp_path_factory):
    """The digits in miniature, in place of the real ones."""
    root = tmp_path_factory.mktemp("data")
    digits_tree.make(root / "digits", STUDENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVAE_DATA_ROOT", str(root))
        patch.setenv("DVAE_DATA", "digits")
        patch.setattr(digits, "LABELS", root / "digits" / "labels.npz")
        yield


def run_of(name):
    return Run(find(name), "smoke")


@pytest.fixture(scope="module", params=["validation", "test"])
def part(request):
    return request.param


@pytest.fixture(scope="module")
def run(tree):
    return run_of("dvae-image")


@pytest.fixture(scope="module")
def pairs(run, part):
    return counterfactuals.photographed_pairs(run, part=part)


@pytest.fixture(scope="module")
def labels(run):
    """Student and gesture (N,) of every photograph."""
    dataset, _ = run.subsets("train")[0]
    return np.asarray(dataset["content"]), np.asarray(dataset["sequence"])


def test_the_target_is_the_photograph_itself_and_the_tag_another_of_the_same_student(run, pairs, part, labels):
    student, gesture = labels
    target, tag = pairs.index.T
    _, held_out = run.subsets(part)[0]
    assert (target == held_out).all() and (student[tag] == student[target]).all()
    assert (gesture[tag] != gesture[target]).all()
    truth, given = (counterfactuals.images(run, indices, part) for indices in (target, tag))
    assert torch.equal(pairs.targets["image"], truth) and torch.equal(pairs.inputs["tag"], given)
    assert torch.equal(pairs.inputs["pose"], pairs.targets["pose"])
    later = {"validation": "test", "test": None}[part]
    assert later is None or not np.isin(tag, run.subsets(later)[0][1]).any()


def test_a_walk_ends_at_a_gesture_that_the_student_made_too(run, pairs, labels):
    student, gesture = labels
    target, end = pairs.index[:, 0], pairs.index[pairs.partner.numpy(), 0]
    assert (student[target] != student[end]).all() and (gesture[target] != gesture[end]).all()
    key = dict(zip(zip(student.tolist(), gesture.tolist(), strict=True), range(len(student)), strict=True))
    swapped = np.array([key[s, g] for s, g in zip(student[target].tolist(), gesture[end].tolist(), strict=True)])
    assert torch.equal(pairs.pose_swapped_targets["image"], counterfactuals.images(run, swapped, "train"))
    assert torch.equal(pairs.pose_swapped_targets["pose"], pairs.targets["pose"][pairs.partner])


def test_baselines_never_show_what_is_asked_for(run, pairs, part, labels):
    student, _ = labels
    found = counterfactuals.baselines(run, pairs, None, part)
    (dataset, held_out), (_, train) = run.subsets(part)[0], run.subsets("train")[0]
    truth = counterfactuals.images(run, np.arange(len(student)), "train")
    assert not (found["nearest pose, right content"] == pairs.targets["image"]).flatten(1).all(1).any()
    torch.testing.assert_close(found["mean image"][0], truth[train].mean(0), rtol=0, atol=1e-5)
    for i, target in enumerate(pairs.index[:, 0]):
        pool = np.union1d(train, tag_candidates(dataset, part, held_out))
        own = pool[(student[pool] == student[target]) & (pool != target)]
        torch.testing.assert_close(found["mean image, right content"][i], truth[own].mean(0), rtol=0, atol=1e-5)
        for name, known in (("nearest pose", train), ("nearest pose, right content", own)):
            assert (truth[known] == found[name][i]).flatten(1).all(1).any()


class Judge(Regressor):
    """Not a model: it knows the students by their walls, and says what their images have in the middle of the edge."""

    def __init__(self):
        super().__init__(list(run_of("estimator").build().modalities.values()), d=2)
        self.walls = torch.tensor(np.stack([digits_tree.wall(k) for k in range(STUDENTS)])) / 127.5 - 1

    def predict(self, image):
        corner = image.amin((2, 3))
        logits = torch.full((len(image), self.modalities["content"].categories), -1e3)
        logits[:, :STUDENTS] = -torch.cdist(corner, self.walls.float())
        return {"pose": torch.zeros(len(image), 21, 3), "content": logits}


def test_who_it_is_is_asked_of_students_who_were_learnt(run, pairs, labels):
    student, _ = labels
    whole = ~np.isin(student[pairs.index[:, 0]], student[run.subsets("train")[0][1]])
    assert 0 < whole.sum() < len(whole)
    right = counterfactuals.is_correct_student(pairs.targets["image"], pairs, Judge())
    wrong = counterfactuals.is_correct_student(pairs.targets["image"][pairs.partner], pairs, Judge())
    assert right.isnan().numpy().tolist() == whole.tolist()
    assert right.nanmean() > 0.9 and wrong.nanmean() == 0


def test_a_table_shows_students_who_are_held_out_whole_in_all_gestures(run, part, labels):
    student, gesture = labels
    seeded = Run(replace(run.experiment, seed=1), "smoke")
    seeded.train(quiet=True)
    estimator = run_of("estimator")
    estimator.train(quiet=True)
    record, model = measure(seeded, estimator.load(), part), seeded.load()
    table, images = record.arrays["table"], record.arrays["sheet/people and gestures"]
    assert table.shape == images.shape[:2] and images.shape[1:] == (10, 3, 32, 32)
    learnt = student[run.subsets("train")[0][1]]
    assert not np.isin(student[table], learnt).any() and (gesture[table] == np.arange(10)).all()
    assert all(len(set(row)) == 1 for row in student[table].tolist())
    inputs = next(counterfactuals.samples_at(run, table[0].numpy(), ("image",), part).in_order())
    tag = counterfactuals.images(run, table[0, 5:6].numpy(), part).expand(10, -1, -1, -1)
    drawn = counterfactuals.transfer(model, inputs | {"tag": tag})
    assert (images[0] - (drawn + 1) * 127.5).abs().max() <= 0.51


def test_a_record_holds_what_the_claims_ask_of_photographs(run, part):
    estimator = run_of("estimator")
    estimator.train(quiet=True)
    judge = estimator.load()
    for name in ("cross-modal", "dvae-image", "dvae-image-place", "dvae-zu"):
        trained = run_of(name)
        trained.train(quiet=True)
        record = measure(trained, judge, part)
        assert {"pairs/psnr", "pairs/ssim", "pairs/epe", "pairs/student"} <= set(record.arrays)
        assert ("pairs/walk, estimated pose" in record.arrays) == (name != "cross-modal")
        assert len(record.by_unit("pairs/psnr")) == len(np.unique(run.units(part)))
        assert ("sheet/people and gestures" in record.arrays) == (
            name != "cross-modal" and trained.experiment.seed == 1
        )
    judged = measure(estimator, judge, part)
    assert not [name for name in judged.arrays if name.startswith("sheet/")]  # true photographs are not published again
    assert {f"pairs/{who}, student" for who in ("true image", "tag", "nearest pose, right content")} <= set(
        judged.arrays
    )
    assert judged.by_unit("pairs/true image, psnr").min() > 1e6
