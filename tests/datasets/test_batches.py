"""Augmentation moves image and labels together; batches are functions of seed and step."""

import numpy as np
import pytest
import torch
from torch.nn.functional import affine_grid, grid_sample, interpolate

from dvae_lib.datasets.augmentation import Augmentation, BatchRng, _enlarge, jitter_colour, warp
from dvae_lib.datasets.batches import Batches, make_batch
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.hand import bone_scale, project, with_root
from tests.helpers.batches import SIZE, FakeDataset, raw_block

EVERYTHING = Augmentation(rotation=180.0, flip=True, zoom=0.3, shift=0.1)


def test_without_augmentation_left_hands_are_only_normalised():
    raw = raw_block()
    batch, left = make_batch(raw, SIZE), ~raw["right"]
    pose = with_root(raw["pose"], "palm")
    millimetres = batch["pose"] * batch["scale"][:, None, None] + batch["root"][:, None]
    torch.testing.assert_close(millimetres[left], pose[left])
    torch.testing.assert_close(batch["scale"], bone_scale(pose))
    torch.testing.assert_close((batch["image"][left] + 1) * 127.5, raw["image"][left].float(), atol=1e-3, rtol=0)
    torch.testing.assert_close((batch["keypoints"][left] + 1) * 32, project(pose, raw["K"])[left])


@pytest.mark.parametrize("augmentation", [Augmentation(), EVERYTHING])
def test_cpose_and_viewpoint_compose_the_pose(augmentation):
    batch = make_batch(raw_block(), SIZE, augmentation, BatchRng(3))
    torch.testing.assert_close(batch["cpose"] @ batch["viewpoint"], batch["pose"], atol=1e-4, rtol=0)
    turned = make_batch(raw_block(), SIZE, Augmentation(rotation=90.0), BatchRng(3))
    plain = make_batch(raw_block(), SIZE)
    torch.testing.assert_close(turned["cpose"], plain["cpose"], atol=1e-4, rtol=0)  # only the viewpoint turns
    assert (turned["viewpoint"] - plain["viewpoint"]).abs().max() > 0.1


def test_a_labelled_palm_is_the_root():
    raw = raw_block()
    raw["palm"] = raw["pose"][:, 0] * 0.3 + raw["pose"][:, 13] * 0.7
    batch, left = make_batch(raw, SIZE), ~raw["right"]
    torch.testing.assert_close(batch["root"][left], raw["palm"][left])
    torch.testing.assert_close(batch["root"][~left], raw["palm"][~left] * torch.tensor([-1.0, 1, 1]))
    expected = (raw["pose"] - raw["palm"][:, None]) / bone_scale(raw["pose"])[:, None, None]
    torch.testing.assert_close(batch["pose"][left, 1:], expected[left, 1:])
    assert (batch["pose"][:, 0] == 0).all()
    wrist = make_batch(raw, SIZE, root_joint="wrist")
    torch.testing.assert_close(wrist["root"][left], raw["pose"][left, 0])


def test_the_palm_is_visible_if_wrist_or_middle_finger_is():
    raw = raw_block(4)
    raw["visible"][:] = True
    raw["visible"][1, 0] = raw["visible"][2, 9] = False
    raw["visible"][3, [0, 9]] = False
    assert make_batch(raw, SIZE)["visible"][:, 0].tolist() == [True, True, True, False]
    assert make_batch(raw, SIZE, root_joint="wrist")["visible"][:, 0].tolist() == [True, False, True, False]


def test_data_with_and_without_a_labelled_palm_make_one_batch():
    labelled, plain = FakeDataset(seed=1), FakeDataset(seed=2)
    labelled.arrays["palm"] = labelled.arrays["pose"][:, 13].copy()
    batch = Batches([(labelled, np.arange(40)), (plain, np.arange(40))], 8, []).batch(0)
    chosen = Batches([(labelled, np.arange(40)), (plain, np.arange(40))], 8, []).indices(0)
    flip = np.where(np.concatenate([labelled["right"][chosen[0]], plain["right"][chosen[1]]]), -1, 1)
    pose = plain["pose"][chosen[1]]
    roots = np.concatenate([labelled["palm"][chosen[0]], (pose[:, 0] + pose[:, 9]) / 2])
    roots[:, 0] *= flip
    np.testing.assert_allclose(batch["root"], roots, rtol=1e-5)


def test_right_hands_become_left_ones():
    raw = raw_block()
    batch, right = make_batch(raw, SIZE), raw["right"]
    torch.testing.assert_close(
        (batch["image"][right] + 1) * 127.5, raw["image"][right].flip(-1).float(), atol=0.1, rtol=0
    )
    mirrored = with_root(raw["pose"], "palm")[right] * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(
        (mirrored - mirrored[:, :1]) / batch["scale"][right][:, None, None], batch["pose"][right]
    )


@pytest.mark.parametrize(
    "augmentation",
    [Augmentation(rotation=180.0), Augmentation(flip=True), Augmentation(zoom=0.3, shift=0.1), EVERYTHING],
)
def test_augmented_poses_reproject_onto_augmented_keypoints(augmentation):
    batch = make_batch(raw_block(), SIZE, augmentation, BatchRng(3))
    pose = batch["pose"] * batch["scale"][:, None, None] + batch["root"][:, None]
    torch.testing.assert_close(project(pose, batch["K"]), (batch["keypoints"] + 1) * 32, atol=1e-3, rtol=0)
    plain = make_batch(raw_block(), SIZE)
    assert (batch["keypoints"] - plain["keypoints"]).abs().max() > 0.1
    lengths = [b["pose"].diff(dim=1).norm(dim=-1) for b in (batch, plain)]
    torch.testing.assert_close(*lengths, atol=1e-4, rtol=1e-4)  # a rigid motion


def test_image_moves_with_its_keypoints():
    """A white blot painted on one joint is found where that joint's keypoint goes."""
    raw, joint = raw_block(32), 5
    uv = project(with_root(raw["pose"]), raw["K"])[:, joint]
    centres = torch.arange(SIZE) + 0.5
    distance = (centres - uv[:, 0, None])[:, None, :] ** 2 + (centres - uv[:, 1, None])[:, :, None] ** 2
    raw["image"] = (255 * torch.exp(-distance / 8))[:, None].expand(-1, 3, -1, -1).to(torch.uint8)
    batch = make_batch(raw, SIZE, EVERYTHING, BatchRng(4))
    # Outside the crop the fill is mid-grey: keep what is brighter than that.
    light = (batch["image"][:, 0] - 0.02).clamp(min=0)
    expected = (batch["keypoints"][:, joint] + 1) * 32
    inside = ((expected > 8) & (expected < 56)).all(-1)
    assert inside.sum() > 10
    total = light.sum((1, 2))
    found = torch.stack([(light.sum(1) * centres).sum(-1) / total, (light.sum(2) * centres).sum(-1) / total], -1)
    torch.testing.assert_close(found[inside], expected[inside], atol=0.3, rtol=0)


def test_background_is_replaced_behind_the_hand_only():
    raw = raw_block(64)
    raw["right"][:] = False
    raw["mask"] = torch.zeros(64, SIZE, SIZE, dtype=torch.uint8)
    raw["mask"][:, 20:40, 10:50] = 17
    plain = make_batch(raw, SIZE)["image"]
    image = make_batch(raw, SIZE, Augmentation(background=0.25), BatchRng(0))["image"]
    assert torch.equal(image[:, :, 20:40, 10:50], plain[:, :, 20:40, 10:50])
    changed = (image[:, :, :20] != plain[:, :, :20]).flatten(1).float().mean(1)
    assert set((changed > 0.9).tolist()) == {True, False} and 6 <= (changed > 0.9).sum() <= 28
    assert (changed[changed <= 0.9] == 0).all()


def test_warp_by_the_identity_and_by_a_whole_pixel():
    image = torch.rand(1, 1, 8, 8)
    torch.testing.assert_close(warp(image, torch.eye(3)[None]), image)
    A = torch.eye(3)[None].clone()
    A[:, 0, 2] = 1
    moved = warp(image, A, outside=0.5)
    torch.testing.assert_close(moved[..., 1:], image[..., :-1])
    torch.testing.assert_close(moved[..., 0], torch.full((1, 1, 8), 0.5))


def test_warp_samples_where_affine_grid_says():
    torch.manual_seed(0)
    A = torch.eye(3).repeat(4, 1, 1)
    A[:, :2] += torch.cat([0.3 * torch.randn(4, 2, 2), 5 * torch.randn(4, 2, 1)], 2)
    images, scale = torch.randn(4, 3, 16, 16), torch.tensor([[8, 0, 8], [0, 8, 8], [0, 0, 1.0]])
    grid = affine_grid((scale.inverse() @ A.inverse() @ scale)[:, :2], list(images.shape), align_corners=False)
    torch.testing.assert_close(warp(images, A), grid_sample(images, grid, align_corners=False), atol=1e-5, rtol=1e-5)


def test_coarse_colours_are_enlarged_bilinearly():
    cells = torch.randn(4, 3, 5, 5, dtype=torch.float64)
    expected = interpolate(cells, 64, mode="bilinear")
    torch.testing.assert_close(_enlarge(cells.float(), 64).double(), expected, atol=1e-6, rtol=1e-6)


def test_colours_are_jittered_by_contrast_about_the_mean_then_by_a_gain_and_a_shift():
    image = torch.rand(4, 3, 8, 8) * 2 - 1
    rng = BatchRng(5)
    gain, contrast, shift = (0.3 * rng.uniform(shape) for shape in ((4, 3, 1, 1), (4, 1, 1, 1), (4, 1, 1, 1)))
    grey = image.mean((1, 2, 3), keepdim=True)
    expected = ((grey + (1 + contrast) * (image - grey) + 1) * (1 + gain) - 1 + shift).clamp(-1, 1)
    torch.testing.assert_close(jitter_colour(image, 0.3, BatchRng(5)), expected, atol=1e-6, rtol=0)
    assert not torch.equal(expected, image)


def test_depth_is_relative_to_the_root_and_far_where_unknown():
    raw = raw_block()
    raw["right"][:] = False
    raw["depth"][:, 0, 0] = 0
    batch = make_batch(raw, SIZE)
    assert (batch["depth"][:, 0, 0, 0] == 1).all()
    expected = (raw["depth"][:, 5, 7] - batch["root"][:, 2]) / (4 * batch["scale"])
    torch.testing.assert_close(batch["depth"][:, 0, 5, 7], expected.clamp(-1, 1))


def test_batches_depend_on_seed_and_step_alone():
    dataset = FakeDataset()
    indices = np.arange(len(dataset))
    first, again, other = (Batches([(dataset, indices)], 8, augmentation=EVERYTHING, seed=s) for s in (0, 0, 1))
    for step in (3, 0):
        assert torch.equal(first.batch(step)["image"], again.batch(step)["image"])
    assert not torch.equal(first.batch(0)["image"], other.batch(0)["image"])


def test_an_epoch_sees_every_sample_once():
    batches = Batches([(FakeDataset(), np.arange(10, 34))], 6)
    epoch = np.concatenate([batches.indices(step)[0] for step in range(4)])
    assert sorted(epoch) == list(range(10, 34))


def test_two_processes_share_the_global_batch():
    parts = [(FakeDataset(), np.arange(40))]
    whole = Batches(parts, 8, augmentation=None)
    shares = [Batches(parts, 8, rank=rank, world=2) for rank in (0, 1)]
    poses = torch.cat([share.batch(5)["pose"] for share in shares])
    expected = whole.batch(5)["pose"]
    assert sorted(poses.sum((1, 2)).tolist()) == pytest.approx(sorted(expected.sum((1, 2)).tolist()))


def test_a_mixture_draws_equal_shares():
    batches = Batches([(FakeDataset(40, 0), np.arange(40)), (FakeDataset(40, 1), np.arange(40))], 8)
    assert [len(indices) for indices in batches.indices(0)] == [4, 4]
    assert len(batches.batch(0)["pose"]) == 8


def test_masks_are_loaded_when_backgrounds_are_replaced():
    dataset = FakeDataset()
    dataset.arrays["mask"] = np.zeros((40, SIZE, SIZE), np.uint8)
    plain, replaced = (
        Batches([(dataset, np.arange(40))], 40, augmentation=Augmentation(background=share)).batch(0)["image"]
        for share in (0.0, 1.0)
    )
    assert ((plain != replaced).flatten(1).float().mean(1) > 0.9).all()


def test_in_order_visits_everything_once():
    dataset = FakeDataset()
    scales = torch.cat([b["scale"] for b in Batches([(dataset, np.arange(40))], 16).in_order()])
    torch.testing.assert_close(scales, bone_scale(torch.from_numpy(dataset.arrays["pose"])))


def test_where_nobody_masked_the_hand_its_bones_say_where_it_is():
    from dvae_lib.datasets import open_dataset

    dataset = open_dataset("synth-stb", 32, frames_per_sequence=16)
    everything = np.arange(len(dataset))
    bare = Dataset.__new__(Dataset)
    bare.__dict__ = {**dataset.__dict__, "arrays": {k: v for k, v in dataset.arrays.items() if k != "mask"}}
    masked, guessed = (Batches([(d, everything)], 192, ["hand"], EVERYTHING).batch(0)["hand"] for d in (dataset, bare))
    assert not torch.equal(masked, guessed)
    overlap = (masked & guessed).sum() / (masked | guessed).sum()
    assert overlap > 0.6  # the masks have the heel of the hand too
    assert (masked & guessed).sum() / guessed.sum() > 0.85
    mixed = Batches([(dataset, everything), (bare, everything)], 32, ["hand"]).batch(0)
    assert mixed["hand"].shape == (32, 1, 32, 32)


def test_keypoints_are_off_by_as_much_as_asked_and_all_else_is_as_without():
    raw = raw_block(400)
    plain, noisy = (
        make_batch(raw, SIZE, augmentation, BatchRng(1)) for augmentation in (None, Augmentation(noise=0.05))
    )
    off = noisy["keypoints"] - plain["keypoints"]
    assert off.std().item() == pytest.approx(0.1, rel=0.03)  # the crop spans 2
    assert off.mean().abs() < 0.005 and off.flatten(1).std(1).min() > 0.05
    for name in plain.keys() - {"keypoints"}:
        assert torch.equal(plain[name], noisy[name])


def test_a_share_of_noise_is_that_of_the_whole_batch():
    whole = BatchRng(2).normal((6, 3))
    assert torch.equal(whole[1::2], BatchRng(2, rank=1, world=2).normal((3, 3)))
