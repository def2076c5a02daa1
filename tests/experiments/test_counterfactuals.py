"""Pose transfer measured against counterfactual renders: the pairs, the baselines and the numbers."""

import math

import numpy as np
import pytest
import torch

from dvae_lib.experiments import counterfactuals, find
from dvae_lib.experiments.run import Run
from dvae_lib.models import DVAE
from dvae_lib.synthetic.scenes import FACTORS


@pytest.fixture(scope="module")
def run():
    return Run(find("dvae-image", "smoke", "synthetic"), "smoke")


@pytest.fixture(scope="module")
def pairs(run):
    return counterfactuals.draw_pairs(run, poses=6)


@pytest.fixture(scope="module")
def model(run):
    return run.build().eval()


@pytest.fixture(scope="module")
def cross_modal():
    return Run(find("cross-modal", "smoke", "synthetic"), "smoke").build().eval()


def test_pairs_are_of_other_contents_and_held_out(run, pairs):
    dataset, test = run.subsets("validation")[0]
    content = np.asarray(dataset["content"])
    assert len(pairs.index) == 6 * pairs.contents_per_pose == 30
    assert np.isin(pairs.index, test).all()
    assert (content[pairs.index[:, 0]] != content[pairs.index[:, 1]]).all()
    assert (content[pairs.index[:, 1]] == pairs.content.numpy()).all()
    for same_pose in pairs.index.reshape(6, 5, 2):
        assert len(set(same_pose[:, 0])) == 1 and len(set(content[same_pose[:, 1]])) == 5


def test_a_target_has_the_pose_of_one_and_all_else_of_the_other(run, pairs, monkeypatch):
    dataset, _ = run.subsets("validation")[0]
    scenes, original = [], counterfactuals.render
    monkeypatch.setattr(
        counterfactuals, "render", lambda run, source, scene: scenes.append(scene) or original(run, source, scene)
    )
    counterfactuals.draw_pairs(run, poses=6)
    source = run.source()
    pose_scene, content_scene = (source.scene(column) for column in pairs.index.T)
    partner_scene = source.scene(np.roll(pairs.index[:, 0], -16))
    for scene, other in zip(scenes, (pose_scene, partner_scene), strict=True):
        for factor, names in FACTORS.items():
            for name in names:
                expected = other if factor in ("pose", "viewpoint") else content_scene
                if name != "window":
                    np.testing.assert_array_equal(getattr(scene, name), getattr(expected, name))
    # One person's hand: the input pose is that of sample i.
    stored = torch.from_numpy(dataset.gather("pose", pairs.index[:, 0]))
    stored = (stored - stored[:, :1]) / (stored[:, 9] - stored[:, 10]).norm(dim=-1)[:, None, None]
    pose = pairs.inputs["pose"]
    pose = (pose - pose[:, :1]) / (pose[:, 9] - pose[:, 10]).norm(dim=-1)[:, None, None]
    torch.testing.assert_close(pose[:, 1:] - pose[:, 1:2], stored[:, 1:] - stored[:, 1:2], atol=1e-3, rtol=0)


def test_a_sample_put_into_its_own_content_is_itself(run):
    dataset, test = run.subsets("validation")[0]
    source = run.source()
    scene = source.scene(test[:3])
    again = counterfactuals.render(run, source, counterfactuals.replace(scene, scene, "pose", "viewpoint"))
    torch.testing.assert_close(again["image"], counterfactuals.images(run, test[:3]), atol=0, rtol=0)


def test_baselines_by_brute_force(run, pairs, cross_modal):
    dataset, train = run.subsets("train")[0]
    baselines = counterfactuals.baselines(run, pairs, cross_modal)
    batch = next(iter(counterfactuals.Batches([(dataset, train)], len(train), ["image"]).in_order()))
    content = np.asarray(dataset["content"])[train]
    for n in (0, 7, 29):
        kind = pairs.content[n].item()
        by_hand = [(p - pairs.inputs["pose"][n]).norm(dim=-1).mean().item() for p in batch["pose"]]
        assert torch.equal(baselines["nearest pose"][n], batch["image"][int(np.argmin(by_hand))])
        same_content = [d if c == kind else math.inf for d, c in zip(by_hand, content, strict=True)]
        assert torch.equal(baselines["nearest pose, right content"][n], batch["image"][int(np.argmin(same_content))])
        torch.testing.assert_close(baselines["mean image"][n], batch["image"].mean(0), atol=1e-5, rtol=0)
        torch.testing.assert_close(
            baselines["mean image, right content"][n], batch["image"][content == kind].mean(0), atol=1e-5, rtol=0
        )


def test_scores_by_their_definitions(pairs, cross_modal):
    targets = pairs.targets
    perfect = counterfactuals.score(targets["image"], targets, cross_modal)
    assert torch.isinf(perfect["psnr"]).all() and (perfect["background"] == 0).all()
    torch.testing.assert_close(perfect["ssim"], torch.ones(30))
    off = targets["image"] + 0.1
    scores = counterfactuals.score(off, targets, cross_modal)
    torch.testing.assert_close(scores["psnr"], torch.full((30,), 10 * math.log10(4 / 0.01)), atol=1e-3, rtol=0)
    torch.testing.assert_close(scores["background"], torch.full((30,), 0.1), atol=1e-5, rtol=0)
    # What is wrong on the hand only is not the background's error.
    on_hand = torch.where(targets["hand"], off, targets["image"])
    assert (counterfactuals.score(on_hand, targets, cross_modal)["background"] == 0).all()
    pose = cross_modal.translate("image", off, "pose")
    distance = (pose - targets["pose"]).norm(dim=-1) * targets["scale"][:, None]
    visible = targets["visible"]
    by_hand = [d[v].mean() for d, v in zip(distance, visible, strict=True)]
    torch.testing.assert_close(scores["epe"], torch.stack(by_hand).detach())


class Perfect(DVAE):
    """Draws a picture of z itself, so that what moves in it is known."""

    def decode(self, z, names=None):
        size = self.modalities["image"].shape[-1]
        pose, tag = self.select(z, "pose").mean(1), self.select(z, "tag").mean(1)
        ones = torch.ones(len(z), 3, size, size)
        return {"image": ones * tag[:, None, None, None], "pose": pose[:, None, None].expand(-1, 21, 3)}


def test_nothing_drifts_where_each_part_is_drawn_by_itself(model, pairs, cross_modal):
    perfect = Perfect.__new__(Perfect)
    perfect.__dict__ = dict(model.__dict__)
    drifts = counterfactuals.drifts(perfect, pairs, cross_modal)
    assert drifts["decoded pose"].abs().max() == 0 and drifts["content"].abs().max() == 0
    assert drifts["pose distance"].min() > 0
    read = cross_modal.translate("image", pairs.targets["image"], "pose")  # of the first pose in contents 0 and 4
    first = (read[0] - read[4]).norm(dim=-1).mean() * pairs.targets["scale"][0]
    torch.testing.assert_close(drifts["estimated pose of true images"][0], first.detach())
    tag = perfect.select(counterfactuals.encode(perfect, pairs.inputs), "tag").mean(1)
    torch.testing.assert_close(drifts["content moved"], (tag.roll(-16) - tag).abs(), atol=1e-5, rtol=0)
    moved = perfect.select(counterfactuals.encode(perfect, pairs.inputs), "pose").mean(1)
    assert drifts["pose moved"].shape == moved.shape


def test_the_contents_apart_are_those_of_the_true_images(model, pairs, cross_modal):
    """Two true images in one room differ outside the persons as their crops do; in two rooms they differ more."""
    drifts = counterfactuals.drifts(model, pairs, cross_modal)
    image, hand = pairs.targets["image"], pairs.targets["hand"]
    n, end = 3, int(pairs.partner[3])
    person = (hand[n] | hand[end]).float()[None]
    room = (torch.nn.functional.max_pool2d(person, 3, stride=1, padding=1) == 0)[0, 0]
    by_hand = (image[n] - image[end])[:, room].square().mean().sqrt()
    torch.testing.assert_close(drifts["content distance"][n], by_hand)
    assert drifts["content distance"].mean() > 1.5 * drifts["content of true images"].mean()


def test_the_room_is_where_nobody_is_not_the_arm_either(run, pairs):
    dataset, test = run.subsets("validation")[0]
    source = run.source()
    mask = source.render(source.scene(test[:20]), 32)["mask"]
    person = counterfactuals.render(run, source, source.scene(test[:20]))["hand"][:, 0].numpy()
    assert (mask == 1).any() and np.array_equal(person, mask > 0)


def test_drift_is_that_of_the_end(model, pairs, cross_modal):
    """A pose that follows the content ends where the content does."""

    class Leaking(Perfect):
        def decode(self, z, names=None):
            means = super().decode(z, names)
            return means | {"pose": self.select(z, "tag").mean(1)[:, None, None].expand(-1, 21, 3)}

    leaking = Leaking.__new__(Leaking)
    leaking.__dict__ = dict(model.__dict__)
    drifts = counterfactuals.drifts(leaking, pairs, cross_modal)
    tag = leaking.select(counterfactuals.encode(leaking, pairs.inputs), "tag").mean(1)
    distance = (tag.roll(-16) - tag).abs() * math.sqrt(3) * pairs.targets["scale"]
    torch.testing.assert_close(drifts["decoded pose"], distance, rtol=1e-3, atol=1e-3)


def test_a_walk_moves_one_part_and_ends_at_the_other(model):
    start, end = torch.randn(2, 3, model.d)
    way = model.walk(start, end, 5, ["tag"])
    assert way.shape == (5, 3, model.d) and torch.equal(way[0], start)
    assert torch.equal(model.select(way, "pose"), model.select(start, "pose").expand(5, -1, -1))
    torch.testing.assert_close(model.select(way[-1], "tag"), model.select(end, "tag"))
    torch.testing.assert_close(model.select(way[2], "tag"), model.select(start + end, "tag") / 2)


def test_a_true_image_has_the_correct_content_and_one_of_another_room_has_not(pairs, cross_modal):
    assert counterfactuals.is_correct_room(pairs.targets["image"], pairs).mean() == 1
    others = pairs.targets["image"].unflatten(0, (-1, pairs.contents_per_pose)).roll(1, 1).flatten(0, 1)
    assert counterfactuals.is_correct_room(others, pairs).mean() == 0
