"""The photographs: cameras and joints against pictures drawn from them, bad files named, no leak in the split."""

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from dvae_lib import hand, settings
from dvae_lib.datasets import open_dataset, open_source, realhand, split
from dvae_lib.datasets.realhand import RealHandSource, is_right
from dvae_lib.datasets.splits import hold_out_blocks
from dvae_lib.files import UserError
from dvae_lib.synthetic import scenes

COUNT = 6
CAMERA = np.array([920.0, 925.0, 640.0, 360.0])  # fx, fy, u0, v0 of the video


def left_hand():
    """A left hand (21, 3) in cm, its palm to the camera, fingers up and slightly bent towards the camera."""
    pose = np.zeros((21, 3))
    for finger, x in enumerate((-4.0, -2.0, 0.0, 2.0, 4.0)):  # thumb on the picture's left
        for joint in range(4):
            y, bend = -(2.0 if finger == 0 else 6.0) - 2.0 * joint, -0.5 * joint
            pose[1 + 4 * finger + joint] = x - (1.5 if finger == 0 else 0), y, bend
    return pose


def write_data_set(folder, count=COUNT):
    """A data set in realhand's format, drawn from its labels: every photograph shows a dot at each joint."""
    generator = np.random.default_rng(0)
    place = generator.uniform([-3, -2, 40], [3, 2, 45], (count, 1, 3))
    pose = (left_hand() + place).astype(np.float32)
    bbox = np.array([[420 + 5 * i, 60 + 3 * i, 400 + 7 * i, 400 + 7 * i] for i in range(count)], dtype=np.int32)
    scipy.io.savemat(folder / "pose_gt.mat", {"pose_gt": pose})
    scipy.io.savemat(folder / "params.mat", {"bbox": bbox, "cam_param": np.tile(CAMERA, (count, 1))})
    (folder / "images").mkdir()
    v, u = np.mgrid[:256, :256] + 0.5
    for i in range(count):
        photograph = np.zeros((256, 256))
        for x, y, z in pose[i].astype(float):
            pixel = np.array([CAMERA[0] * x / z + CAMERA[2], CAMERA[1] * y / z + CAMERA[3]])  # of the video
            pixel = (pixel - bbox[i, :2]) * 256 / bbox[i, 2]  # of the photograph
            photograph += 255 * np.exp(-((u - pixel[0]) ** 2 + (v - pixel[1]) ** 2) / 8)
        picture = np.repeat(photograph.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
        Image.fromarray(picture).save(folder / f"images/{i:05d}.jpg", quality=95)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(realhand, "COUNT", COUNT)
    write_data_set(tmp_path)
    return tmp_path


def test_the_stored_camera_finds_the_joints_in_the_crop(folder):
    samples = RealHandSource(folder).read(np.arange(COUNT), 96)
    uv = hand.project(torch.tensor(samples["pose"]), torch.tensor(samples["K"])).numpy()
    np.testing.assert_allclose(uv[:, hand.MIDDLE_MCP], 48, atol=0.01)  # the protocol centres the middle MCP
    inside = ((uv > 5) & (uv < 91)).all(-1)
    assert inside.sum() > 12 * COUNT  # else the loop below says little
    for image, joints in zip(samples["image"], [uv[i][inside[i]] for i in range(COUNT)], strict=True):
        for u, v in joints:
            v0, u0 = int(v) - 4, int(u) - 4
            window = image[0, v0 : v0 + 9, u0 : u0 + 9].astype(float)
            peak = np.unravel_index(window.argmax(), window.shape)
            assert abs(peak[0] + v0 + 0.5 - v) <= 1 and abs(peak[1] + u0 + 0.5 - u) <= 1


def test_schema_units_and_handedness(folder):
    source = RealHandSource(folder)
    samples = source.read(np.array([4, 1]), 32)
    for name, (shape, dtype) in source.fields(32).items():
        assert (samples[name].shape, samples[name].dtype) == ((2, *shape), dtype)
    assert 400 < samples["pose"][..., 2].min() < samples["pose"][..., 2].max() < 460  # mm from the camera
    assert samples["frame"].tolist() == [4, 1]
    assert not samples["right"].any()


def test_a_mirrored_left_hand_is_a_right_one_from_any_side():
    rotations, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(50, 3, 3)))
    rotations *= np.linalg.det(rotations)[:, None, None]
    left = left_hand() @ rotations
    assert not is_right(left).any()
    assert is_right(left * [-1, 1, 1]).all()


def test_the_rule_knows_rendered_hands_of_either_side():
    scene = open_source("synth-rhd", count=500).scene(np.arange(500))
    assert (is_right(scenes.pose(scene)) == scene.right).mean() > 0.97  # it may err on a hand bent backwards


@pytest.mark.real_data("stb")
def test_the_rule_finds_that_stb_shows_a_left_hand():
    labels = scipy.io.loadmat(settings.data_root() / "stb/labels/B1Counting_BB.mat")["handPara"]
    assert not is_right(labels.transpose(2, 1, 0)[:, hand.ORDERS["stb"]]).any()


def change(folder, file, key, edit):
    content = scipy.io.loadmat(folder / file)
    content[key] = edit(content[key].copy())
    scipy.io.savemat(folder / file, {k: v for k, v in content.items() if not k.startswith("__") and v is not None})


def put_nan(array):
    array[3, 7, 1] = np.nan
    return array


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("damage, message", [
    (lambda f: (f / "images/00002.jpg").unlink(), r"00002\.jpg is missing, one of 1 photographs"),
    (lambda f: (f / "pose_gt.mat").unlink(), r"pose_gt\.mat is missing"),
    (lambda f: cut_short(f / "pose_gt.mat"), r"pose_gt\.mat cannot be read as a MATLAB file"),
    (lambda f: (f / "params.mat").write_bytes(b""), r"params\.mat cannot be read as a MATLAB file"),
    (lambda f: change(f, "pose_gt.mat", "pose_gt", lambda a: None), r"pose_gt\.mat contains no “pose_gt”"),
    (lambda f: change(f, "pose_gt.mat", "pose_gt", lambda a: a[:-1]), r"pose_gt\.mat: “pose_gt” is float32 \(5, 21"),
    (lambda f: change(f, "params.mat", "cam_param", lambda a: a.astype(str)), r"params\.mat: “cam_param” is <U"),
    (lambda f: change(f, "pose_gt.mat", "pose_gt", put_nan), r"pose_gt\.mat: “pose_gt” of frame 3 contains a value"),
    (lambda f: (f / "images").rename(f / "pictures"), r"is not the realhand data set: it has no folder “images”"),
])  # fmt: skip
def test_bad_files_are_named_with_what_to_do(folder, damage, message):
    damage(folder)
    with pytest.raises(UserError, match=message + r".* Run `dvae download realhand --accept-licence`"):
        RealHandSource(folder)


def test_bad_photographs_are_named(folder):
    source = RealHandSource(folder)
    cut_short(folder / "images/00001.jpg")
    with pytest.raises(UserError, match=r"00001\.jpg cannot be read as an image"):
        source.read(np.array([0, 1]), 32)
    Image.new("RGB", (256, 200)).save(folder / "images/00002.jpg")
    with pytest.raises(UserError, match=r"00002\.jpg has 256 × 200 pixels instead of 256 × 256"):
        source.read(np.array([2]), 32)


def test_the_content_decides_where_it_is_cached(folder, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path_factory.mktemp("cache")))
    first = open_dataset("realhand", 32, folder=folder)
    assert open_dataset("realhand", 32, folder=folder).folder == first.folder
    Image.new("RGB", (256, 256)).save(folder / "images/00002.jpg")
    changed = open_dataset("realhand", 32, folder=folder)
    assert changed.folder != first.folder
    assert first["image"][2].any() and not changed["image"][2, :, 8:-8, 8:-8].any()


def test_split_parts_whole_blocks():
    parts = realhand.split(range(583))
    assert parts["validation"].tolist() == [*range(60, 90), *range(210, 240), *range(360, 390), *range(510, 540)]
    assert parts["test"].tolist() == [*range(95, 125), *range(245, 275), *range(395, 425), *range(545, 575)]
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test"), ("final", "test")):
        assert np.abs(parts[one][:, None] - parts[other]).min() == realhand.GAP + 1
    assert set(parts["train"]) | set(parts["validation"]) < set(parts["final"])


def test_blocks_are_cut_in_each_video_by_frame_number():
    """Every third frame of two videos: blocks and gaps are in the videos' own frames."""
    frame = np.concatenate([np.arange(0, 150, 3), np.arange(0, 150, 3)])
    parts = hold_out_blocks(frame, period=150, gap=5, validation=(60, 90))
    assert parts.keys() == {"train", "validation"}
    assert sorted(set(frame[parts["validation"]])) == list(range(60, 90, 3))
    assert sorted(set(frame[parts["train"]])) == [*range(0, 55, 3), *range(96, 150, 3)]
    assert len(parts["validation"]) == 20


@pytest.mark.real_data("realhand")
def test_the_real_photographs():
    source = RealHandSource()
    assert len(source) == 583
    assert not is_right(source.pose).any()
    uv = hand.project(torch.from_numpy(source.pose), torch.from_numpy(source.K))
    assert uv.min() > 0 and uv.max() < 256  # bbox was drawn around the joints
    names = scipy.io.loadmat(source.folder / "params.mat")["image_path"]
    assert [f"images/{source.photograph(i).name}" for i in range(583)] == [name.strip() for name in names]


@pytest.mark.real_data("realhand")
def test_real_hands_lie_where_the_joints_are():
    """Skin is redder than it is blue or green, more so than the shop behind it: joints meet skin, shifted ones less."""
    source = RealHandSource()
    samples = source.read(np.arange(0, 583, 20), 128)
    uv = hand.project(torch.tensor(samples["pose"]), torch.tensor(samples["K"])).numpy()
    image = samples["image"].astype(float)
    redness = image[:, 0] - (image[:, 1] + image[:, 2]) / 2

    def at_joints(shift):
        u, v = np.moveaxis((uv + shift).astype(int).clip(0, 127), -1, 0)
        return redness[np.arange(len(uv))[:, None], v, u].mean()

    assert at_joints([0, 0]) > 1.3 * max(at_joints(s) for s in ([20, 0], [-20, 0], [0, 20], [0, -20]))


@pytest.mark.real_data("realhand")
def test_the_split_holds_out_poses_that_training_does_not_show(tmp_path, monkeypatch):
    """The nearest training pose is nearly twice as far from a held-out block as from frames drawn at random."""
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path))
    dataset = open_dataset("realhand", 16)
    pose = dataset["pose"] - dataset["pose"][:, :1]

    def nearest(train, test):
        return np.median(np.linalg.norm(pose[test][:, None] - pose[train], axis=-1).mean(-1).min(axis=1))

    shuffled = np.random.default_rng(0).permutation(len(dataset))
    parts = split(dataset)
    assert nearest(parts["final"], parts["test"]) > 1.5 * nearest(shuffled[120:], shuffled[:120])
