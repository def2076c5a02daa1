"""Rendered hands: anatomy, geometry against closed forms, factors that can be replaced one at a time."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from dvae_lib.datasets.crop import crop_matrix, crop_window
from dvae_lib.datasets.rendered import SyntheticSource, protocol_window
from dvae_lib.files import UserError
from dvae_lib.hand import FINGERS, project
from dvae_lib.synthetic import presets, scenes, solid
from dvae_lib.synthetic.kinematics import ANGLES, GESTURES, LIMITS, PROPORTIONS, forward, overlap, random_angles, turn
from dvae_lib.synthetic.renderer import render
from dvae_lib.synthetic.rooms import paint_room
from dvae_lib.synthetic.shading import LIGHT_COLUMNS, LOOK_COLUMNS

SIZE = 64
PALM_TO_CAMERA = np.diag([-1.0, -1.0, 1.0])


@pytest.fixture(scope="module")
def stb():
    return SyntheticSource("synth-stb", frames_per_sequence=20)


@pytest.fixture(scope="module")
def rhd():
    return SyntheticSource("synth-rhd", count=400)


def posed(gestures, proportions=None):
    angles = np.stack([GESTURES[name] for name in gestures])
    return forward(angles, np.ones((len(angles), len(PROPORTIONS))) if proportions is None else proportions)


def bent(**degrees):
    """Joints of the average hand with some joints bent, named with underscores."""
    angles = np.zeros((1, len(ANGLES)))
    for name, value in degrees.items():
        angles[0, ANGLES.index(name.replace("_", " "))] = np.radians(value)
    return forward(angles, np.ones((1, len(PROPORTIONS))))[0][0]


def angle_at(joints, a, b, c):
    u, v = joints[b] - joints[a], joints[c] - joints[b]
    return np.degrees(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))


# Kinematics


def test_bones_keep_their_lengths_whatever_the_pose():
    rng = np.random.default_rng(0)
    joints, _ = forward(random_angles(rng, 50), np.ones((50, 6)))
    assert np.linalg.norm(joints[:, 9] - joints[:, 10], axis=-1) == pytest.approx(41.0)
    for finger in FINGERS.values():
        lengths = np.linalg.norm(np.diff(joints[:, finger], axis=1), axis=-1)
        assert lengths == pytest.approx(np.tile(lengths[0], (50, 1)))


def test_proportions_stretch_what_they_name():
    proportions = np.ones((1, 6))
    proportions[0, PROPORTIONS.index("size")] = 1.1
    proportions[0, PROPORTIONS.index("finger length")] = 0.9
    joints, average = posed(["five"], proportions)[0][0], posed(["five"])[0][0]
    assert np.linalg.norm(joints[10] - joints[9]) == pytest.approx(41 * 1.1 * 0.9)
    assert joints[9] == pytest.approx(1.1 * average[9])


def test_flexion_bends_to_the_palm_by_its_angle_and_the_last_joint_follows():
    straight, joints = bent(), bent(index_MCP_flexion=30, index_PIP_flexion=60)
    assert joints[6, 2] < straight[6, 2] - 15  # towards the palm, which lies at negative z
    assert angle_at(joints, 5, 6, 7) == pytest.approx(60)
    assert angle_at(joints, 6, 7, 8) == pytest.approx(40)  # two thirds of the joint before
    assert joints[9:13] == pytest.approx(straight[9:13])


def test_abduction_moves_to_the_thumb_s_side():
    joints, straight = bent(index_MCP_abduction=10), bent()
    assert joints[8, 0] > straight[8, 0] + 10
    assert angle_at(
        np.stack([straight[5], straight[8], straight[8] + joints[8] - joints[5]]), 0, 1, 2
    ) == pytest.approx(10)


def test_frames_are_rotations_along_the_bones():
    joints, frames = posed(GESTURES)
    assert frames @ frames.transpose(0, 1, 3, 2) == pytest.approx(np.broadcast_to(np.eye(3), frames.shape), abs=1e-12)
    assert np.linalg.det(frames) == pytest.approx(1)
    for j in (3, 4, 6, 7, 8, 10, 20):
        bone = joints[:, j] - joints[:, j - 1]
        assert frames[:, j, :, 1] == pytest.approx(bone / np.linalg.norm(bone, axis=-1, keepdims=True))


def test_hands_do_not_run_into_themselves():
    assert max(np.max(depth) for depth in overlap(posed(GESTURES)[0])) < 5
    angles = random_angles(np.random.default_rng(1), 500)
    assert (angles >= LIMITS[:, 0] - 1e-9).all() and (angles <= LIMITS[:, 1] + 1e-9).all()
    assert max(np.max(depth) for depth in overlap(forward(angles, np.ones((500, 6)))[0])) < 5
    # … and the measure sees it when they do.
    through = GESTURES["fist"].copy()
    through[:4] = np.radians([60, 20, 30, 30])
    assert overlap(forward(through[None], np.ones((1, 6)))[0])[0] > 8


# Geometry


def picture_of(start, end, radius, size=SIZE, f=100.0):
    """Depth and mask of one capsule (mm, camera frame) alone."""
    start, end = np.array(start, dtype=float), np.array(end, dtype=float)
    cones = np.zeros((1, len(solid.GROUP), solid.COLUMNS))
    cones[..., solid.RADIUS] = -1e3
    cones[..., solid.A], cones[..., solid.AXIS], cones[..., solid.DORSAL] = 500, (0, 1, 0), (0, 0, 1)
    cones[..., solid.INVERSE_SQUARE], cones[..., solid.MELT] = 1, 1
    axis = end - start
    cones[0, 0, solid.A], cones[0, 0, solid.AXIS], cones[0, 0, solid.RADIUS] = start, axis, radius
    cones[0, 0, solid.INVERSE_SQUARE] = 1 / (axis @ axis)
    K = np.array([[[f, 0, size / 2], [0, f, size / 2], [0, 0, 1.0]]])
    looks, lights = np.full((1, LOOK_COLUMNS), 0.5), np.full((1, LIGHT_COLUMNS), 0.5)
    room, window = np.zeros((1, size, size, 3), np.uint8), np.array([[0.0, 0.0, size]])
    return render(cones, np.array([False]), K, looks, lights, room, np.array([0]), window, size)


def rays(size=SIZE, f=100.0):
    u = (np.arange(size) + 0.5 - size / 2) / f
    return np.stack(np.broadcast_arrays(u[None, :], u[:, None], 1.0), axis=-1)


def test_depth_of_a_sphere_is_the_closed_form():
    centre, radius = np.array([20.0, -15.0, 300.0]), 40.0
    drawn = picture_of(centre, centre + [0, 0.01, 0], radius)
    d = rays()  # |z d − c|² = r², the nearer root
    a, b, c = (d * d).sum(-1), d @ centre, centre @ centre - radius**2
    root = b * b - a * c
    z = np.where(root > 0, (b - np.sqrt(np.maximum(root, 0))) / a, 0)
    inside, sure = root > 0, np.abs(root) > 0.02 * np.abs(root).max()
    assert ((drawn["depth"][0] > 0) == inside)[sure].all()
    assert np.abs(drawn["depth"][0] - z)[inside & sure].max() < 0.75  # half a millimetre is rounding
    assert set(np.unique(drawn["mask"])) == {0, solid.LABEL[0]}
    assert ((drawn["mask"] > 0) == (drawn["depth"] > 0)).all()


def test_depth_of_a_capsule_is_where_its_distance_vanishes():
    start, end, radius = np.array([-30.0, -20.0, 260.0]), np.array([40.0, 25.0, 330.0]), 15.0
    drawn = picture_of(start, end, radius)["depth"][0].astype(float)
    axis = end - start
    z = np.linspace(220, 360, 1401)
    points = z[:, None, None, None] * rays()
    s = np.clip((points - start) @ axis / (axis @ axis), 0, 1)
    distance = np.linalg.norm(points - start - s[..., None] * axis, axis=-1) - radius
    met = (distance < 0).any(axis=0)
    expected = np.where(met, z[(distance < 0).argmax(axis=0)], 0)
    sure = np.abs(distance.min(axis=0)) > 0.3
    assert ((drawn > 0) == met)[sure].all()
    assert np.abs(drawn - expected)[met & sure].max() < 0.8


def open_hands(source):
    """The hand spread out, palm or back to the camera, a little turned: every joint can be seen."""
    scene = source.scene(np.zeros(4, dtype=int))
    turns = [
        turn(2, np.radians(a)) @ turn(1, np.radians(b)) @ PALM_TO_CAMERA
        for a, b in ((0, 0), (40, 8), (0, 180), (-60, 188))
    ]
    angles = np.tile(GESTURES["five"], (4, 1))
    position, right = np.tile([0.0, 0.0, 850.0], (4, 1)), np.array([False, True, True, False])
    moved = dataclasses.replace(scene, angles=angles, viewpoint=np.stack(turns), position=position, right=right)
    return protocol_window(moved)


def test_joints_lie_where_mask_and_depth_say(stb):
    drawn = stb.render(open_hands(stb), 128)
    uv = project(torch.from_numpy(drawn["pose"]), torch.from_numpy(drawn["K"])).numpy()
    for n in range(4):
        for f, finger in enumerate(FINGERS.values()):
            for k, joint in enumerate(finger):
                column, row = np.floor(uv[n, joint]).astype(int)
                below = drawn["pose"][n, joint, 2] - float(drawn["depth"][n, row, column])
                assert 2 < below < 25, f"{joint} lies {below} mm under the skin"
                part = int(drawn["mask"][n, row, column]) - (16 if drawn["right"][n] else 0)
                bones = {4 + 3 * f - min(k, 2), 4 + 3 * f - max(k - 1, 0)}  # the two that meet here
                assert part in bones | ({17} if k == 0 or (f == 0 and k == 1) else set()), (joint, part)


def test_masks_tell_left_from_right(stb):
    scene = open_hands(stb)
    for right, ids in ((False, range(2, 18)), (True, range(18, 34))):
        drawn = stb.render(dataclasses.replace(scene, right=np.full(4, right)), SIZE)["mask"]
        assert set(np.unique(drawn)) <= {0, 1, *ids} and len(np.unique(drawn)) > 15


def test_a_right_hand_is_the_mirror_image(stb):
    scene = stb.scene(np.array([30, 150]))
    K = scene.K.copy()
    K[:, 0, 2] = 320
    window = np.tile([192.0, 112.0, 256.0], (2, 1))
    left = dataclasses.replace(scene, K=K, window=window, position=np.tile([15.0, 10.0, 650.0], (2, 1)))
    mirror = np.diag([-1.0, 1.0, 1.0])
    right = dataclasses.replace(
        left, right=~left.right, position=left.position @ mirror, viewpoint=mirror @ left.viewpoint @ mirror
    )
    assert scenes.pose(right) == pytest.approx(scenes.pose(left) @ mirror)
    a, b = scenes.draw(left, SIZE), scenes.draw(right, SIZE)
    mask, flipped = a["mask"], b["mask"][:, :, ::-1]
    same = flipped == np.where(mask > 1, mask + 16, mask)
    assert same.mean() > 0.995
    assert np.abs(a["depth"].astype(float) - b["depth"][:, :, ::-1])[same].max() <= 1


def test_the_crop_follows_the_protocol(stb, rhd):
    for source in (stb, rhd):
        scene = source.scene(np.arange(0, len(source), 17))
        joints = torch.from_numpy(scenes.pose(scene))
        K, uv = torch.from_numpy(scene.K), project(joints, torch.from_numpy(scene.K))
        visible = ((uv >= 0) & (uv < torch.tensor(scene.frame))).all(-1)
        centre, side = crop_window(uv, visible, scene.frame)
        expected = crop_matrix(centre, side, SIZE) @ K
        assert scenes.crop_camera(scene, SIZE) == pytest.approx(expected.numpy())
        middle = project(joints, torch.from_numpy(scenes.crop_camera(scene, SIZE)))[:, 9]
        assert middle.numpy() == pytest.approx(SIZE / 2)


def test_outside_the_camera_s_frame_is_grey(stb):
    scene = stb.scene(np.array([0]))
    drawn = scenes.draw(dataclasses.replace(scene, window=np.array([[-100.0, -100.0, 200.0]])), SIZE)
    half = SIZE // 2
    assert (drawn["image"][0, :, :half] == 128).all() and (drawn["image"][0, :, :, :half] == 128).all()
    assert (drawn["image"][0, :, half:, half:] == 128).mean() < 0.2
    assert not drawn["depth"][0, :half].any()


# Factors


def test_another_room_changes_nothing_of_the_hand(stb):
    scene, other = stb.scene(np.array([3, 90])), stb.scene(np.array([200, 130]))
    before, after = stb.render(scene, SIZE), stb.render(scenes.replace(scene, other, "background"), SIZE)
    for field in ("pose", "K", "mask", "depth", "angles", "viewpoint", "light"):
        assert np.array_equal(before[field], after[field]), field
    hand = before["mask"] > 0
    inner = hand & np.roll(hand, 1, 1) & np.roll(hand, -1, 1) & np.roll(hand, 1, 2) & np.roll(hand, -1, 2)
    same = (before["image"] == after["image"]).all(axis=1)
    assert same[inner].all()  # edges are part room, the rest is the same to the last bit
    assert same[~hand].mean() < 0.1
    assert after["content"].tolist() == other.content.tolist()


def test_another_pose_changes_nothing_of_the_room(stb):
    scene, other = stb.scene(np.array([3, 90])), stb.scene(np.array([10, 40]))
    before, after = stb.render(scene, SIZE), stb.render(scenes.replace(scene, other, "pose"), SIZE)
    either = (before["mask"] > 0) | (after["mask"] > 0)
    for axis, step in ((1, 1), (1, -1), (2, 1), (2, -1)):
        either |= np.roll(either, step, axis)
    same = (before["image"] == after["image"]).all(axis=1)
    assert same[~either].all() and (~either).mean() > 0.2
    assert np.array_equal(after["angles"], other.angles.astype(np.float32))
    assert not np.array_equal(before["pose"], after["pose"])


@pytest.mark.parametrize("factor", scenes.FACTORS)
def test_replacing_a_factor_replaces_its_arrays_alone(rhd, factor):
    scene, other = rhd.scene(np.arange(6)), rhd.scene(np.arange(394, 400))
    changed = scenes.replace(scene, other, factor)
    for name in (name for names in scenes.FACTORS.values() for name in names):
        source = other if name in scenes.FACTORS[factor] else scene
        assert np.array_equal(getattr(changed, name), getattr(source, name)), name


def test_one_other_serves_all_and_unknown_factors_are_refused(stb):
    scene = stb.scene(np.arange(3))
    assert (scenes.replace(scene, stb.scene(np.array([230])), "background").content == 5).all()
    with pytest.raises(ValueError, match="hat is not a factor of a scene: choose from pose"):
        scenes.replace(scene, scene, "hat")


def test_the_person_s_skin_and_the_lamp_are_seen(stb):
    scene = dataclasses.replace(open_hands(stb), right=np.zeros(4, dtype=bool))
    palm_and_back = scene[np.array([0, 2])]

    def brightness(scene):
        drawn = scenes.draw(scene, SIZE)
        return np.array([image[:, mask > 1].mean() for image, mask in zip(drawn["image"], drawn["mask"], strict=True)])

    normal = brightness(palm_and_back)
    dark = palm_and_back.look.copy()
    dark[:, :3] *= 0.3
    darker = brightness(dataclasses.replace(palm_and_back, look=dark))
    assert darker[0] > 0.9 * normal[0] and darker[1] < 0.75 * normal[1]  # only the back of the hand was darkened
    dim = palm_and_back.light.copy()
    dim[:, 3:] /= 4
    assert brightness(dataclasses.replace(palm_and_back, light=dim)) == pytest.approx(normal / 2, rel=0.15)  # gamma 2


# Presets


def test_a_sample_depends_on_nothing_but_its_index(stb):
    block = stb.read(np.array([239, 5, 100]), 32)
    for k, index in enumerate((239, 5, 100)):
        alone = SyntheticSource("synth-stb", frames_per_sequence=20).read(np.array([index]), 32)
        for field in block:
            assert np.array_equal(block[field][k], alone[field][0]), field


def test_a_subset_holds_the_samples_of_the_whole(stb):
    whole = SyntheticSource("synth-stb")
    assert len(whole) == 18000 and len(stb) == 240
    part = stb.read(np.array([47]), 32)
    assert part["sequence"] == 2 and part["frame"] == 525
    full = whole.read(np.array([2 * 1500 + 525]), 32)
    assert all(np.array_equal(part[field], full[field]) for field in part)


def test_another_seed_is_another_data_set(stb):
    other = SyntheticSource("synth-stb", seed=1, frames_per_sequence=20)
    assert other.fingerprint != stb.fingerprint
    assert not np.array_equal(other.scene([7]).angles, stb.scene([7]).angles)


def test_synth_stb_is_like_stb():
    scene, sequence, frame, names = presets.stb(0)
    assert names[:3] == ["B1Counting", "B1Random", "B2Counting"] and len(names) == 12
    assert np.bincount(sequence).tolist() == [1500] * 12 and frame[-1] == 1499
    assert (scene.content == sequence // 2).all() and not scene.right.any()
    joints = scenes.pose(scene[::50])
    assert np.ptp(np.linalg.norm(joints[:, 9] - joints[:, 10], axis=-1)) < 1e-9  # one person
    assert 38 < np.linalg.norm(joints[0, 9] - joints[0, 10]) < 46
    turned = np.degrees(
        np.arccos(np.clip((np.trace(scene.viewpoint @ PALM_TO_CAMERA, axis1=1, axis2=2) - 1) / 2, -1, 1))
    )
    assert 8 < np.median(turned) < 25 and turned.max() < 60
    steps = np.abs(np.diff(scene.angles.reshape(12, 1500, -1), axis=1))
    assert np.degrees(steps.max()) < 12  # smooth: at 30 frames a second nothing jumps


def test_synth_rhd_is_like_rhd():
    scene, sequence, frame, names = presets.rhd(0)
    assert len(scene) == 41258 and len(names) == 16 * 31 and names[33] == "person 1 action 2"
    assert set(scene.person) == set(range(16)) and len(set(scene.content)) == 320
    assert 0.48 < scene.right.mean() < 0.52
    assert scene.viewpoint @ scene.viewpoint.transpose(0, 2, 1) == pytest.approx(np.tile(np.eye(3), (len(scene), 1, 1)))
    assert np.linalg.det(scene.viewpoint) == pytest.approx(1)
    facing = scene.viewpoint[:, 2, 2]  # the back's direction along the optical axis: of either sign, and small
    assert (facing > 0.7).mean() > 0.08 and (facing < -0.7).mean() > 0.08 and (np.abs(facing) < 0.3).mean() > 0.15


def test_another_motion_changes_nothing_else():
    (scene, *_), (other, *_) = presets.stb(0), presets.stb(0, motion=7)
    for name in ("proportions", "look", "light", "content", "K"):
        assert np.array_equal(getattr(scene, name), getattr(other, name))
    assert not np.isclose(scene.angles, other.angles).all(1).any()


def test_what_models_are_tested_on_is_as_many_people_and_rooms_as_it_says():
    rooms, sequence, _, names = presets.stb_rooms(0)
    assert len(set(rooms.content)) == len(names) == 40 and len(np.unique(rooms.light, axis=0)) == 40
    assert sum(name.endswith("Counting") for name in names) == 20 and np.bincount(sequence).tolist() == [1500] * 40
    test, sequence, frame, names = presets.rhd_test(0)
    assert len(test) == 2560 and np.bincount(test.person).tolist() == [16] * 160
    assert len(np.unique(test.proportions, axis=0)) == 160
    assert len(names) == 320 and np.bincount(sequence).tolist() == [8] * 320 and set(frame) == set(range(8))
    validation, *_ = presets.rhd_validation(0)
    assert len(validation) == 1200 and set(validation.person) == set(range(12))
    used = [presets.stb(0)[0], presets.rhd(0)[0], validation, test, rooms]
    contents = [set(scene.content) for scene in used]
    assert sum(map(len, contents)) == len(set.union(*contents))


def test_poses_are_five_times_the_samples_of_rhd_and_nothing_is_drawn():
    scene, sequence, _, names = presets.poses(0)
    first, *_ = presets.rhd(0)
    assert len(scene) == 5 * len(first) == 206_290 and set(scene.person) == set(range(80))
    assert len(names) == sequence.max() + 1 == 5 * 16 * 31 and len(np.unique(scene.proportions, axis=0)) == 80
    assert np.array_equal(scene.angles[: len(first)], first.angles)
    source, drawn = SyntheticSource("synth-poses", count=5 * 41258), SyntheticSource("synth-rhd")
    assert {"image", "depth", "mask"}.isdisjoint(source.fields(32))
    few, all_of_it = (s.read(np.arange(0, 400, 40), 32) for s in (source, drawn))
    assert few.keys() == source.fields(32).keys()
    for name in ("pose", "K", "visible", "right"):
        assert np.array_equal(few[name], all_of_it[name])


def test_rooms_are_their_number_s(stb):
    assert np.array_equal(paint_room(2, 64, 48), paint_room.__wrapped__(2, 64, 48))
    assert paint_room(2, 64, 48).shape == (48, 64, 3)
    rooms = np.stack([paint_room(content, 64, 48) for content in range(20)]).astype(float)
    apart = [np.abs(a - b).mean() for i, a in enumerate(rooms) for b in rooms[:i]]
    assert min(apart) > 8
    assert min(room.std() for room in rooms) > 8  # no blank walls


def test_what_is_read_is_what_was_promised(stb, rhd):
    for source in (stb, rhd):
        read = source.read(np.array([1, 2]), 32)
        assert {name: (value.shape[1:], value.dtype) for name, value in read.items()} == source.fields(32)
        assert (read["visible"].mean() > 0.9) and (read["mask"] > 1).any(axis=(1, 2)).all()


def test_impossible_requests_say_what_is_possible():
    with pytest.raises(UserError, match="no preset “synth-abc”: choose one of synth-stb, "):
        SyntheticSource("synth-abc")
    with pytest.raises(UserError, match="frames_per_sequence is 1501: it must be between 1 and 1500"):
        SyntheticSource("synth-stb", frames_per_sequence=1501)
    with pytest.raises(UserError, match="count is not an option of synth-stb"):
        SyntheticSource("synth-stb", count=3)


@pytest.mark.slow
def test_drawing_leaves_torch_its_threads():
    """In a process of its own: Numba's threads start once."""
    script = (
        "import numpy, torch\n"
        "from dvae_lib.datasets.rendered import SyntheticSource\n"
        "torch.set_num_threads(1)\n"
        "SyntheticSource('synth-stb').read(numpy.arange(2), 32)\n"
        "assert torch.get_num_threads() == 1\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"NUMBA_NUM_THREADS": "2"})
