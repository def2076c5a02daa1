"""STB: cameras, joints and pixels against scenes drawn for them, the protocol's reference values, and bad files."""

import dataclasses
import shutil

import numpy as np
import pytest
import scipy.io
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import binary_opening, distance_transform_edt

from dvae_lib import hand
from dvae_lib import settings as places
from dvae_lib.datasets import stb
from dvae_lib.datasets.crop import crop
from dvae_lib.datasets.dataset import prepare
from dvae_lib.datasets.stb import STBSource, expected
from dvae_lib.files import UserError, read_image
from dvae_lib.hand.canonical import canonicalise
from dvae_lib.synthetic import scenes
from tests.helpers.stb_tree import BASELINE, CAMERAS, STEREO, WALL, labels_of, scene_of, write_stb

SEQUENCES = ["B1Counting", "B2Random"]
TAKEN = [0, 750]  # of the 1500 frames
SOME = {"sequences": SEQUENCES, "frames_per_sequence": len(TAKEN)}
FUZZ = settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("stb")
    write_stb(root, SEQUENCES, frames=len(TAKEN), cameras=tuple(CAMERAS))
    return root


@pytest.fixture
def copy(tree, tmp_path):
    """A tree to be spoilt."""
    return shutil.copytree(tree, tmp_path / "stb")


def truth(view):
    """Poses (4, 21, 3) of the tree's samples in this camera's frame."""
    return np.concatenate([scenes.pose(scene_of(sequence, view, TAKEN)) for sequence in SEQUENCES])


@pytest.mark.parametrize("view", CAMERAS)
def test_joints_are_where_the_camera_sees_them(tree, view):
    source = STBSource(tree, (view,), **SOME)
    samples = source.read(np.arange(4), 64)
    pose = truth(view)
    np.testing.assert_allclose(samples["pose"], pose, atol=1e-3)  # mm
    np.testing.assert_allclose(samples["palm"], (pose[:, 0] + pose[:, 13]) / 2, atol=1e-3)
    for name, (shape, dtype) in source.fields(64).items():
        assert (samples[name].shape, samples[name].dtype) == ((4, *shape), dtype)
    assert samples["visible"].all() and not samples["right"].any()


@pytest.mark.parametrize("view", ["BB_left", "BB_right", "SK_color"])
def test_the_crop_shows_what_its_camera_sees(tree, view):
    """Drawn once more, straight through the crop's camera, the hand covers itself; a pixel aside it does not."""
    size, camera = 96, CAMERAS[view]
    samples = STBSource(tree, (view,), **SOME).read(np.arange(4), size)
    K = samples["K"].astype(float)
    scale = camera[0, 0] / K[:, 0, 0]  # pixels of the image in one of the crop
    window = np.stack([camera[0, 2] - scale * K[:, 0, 2], camera[1, 2] - scale * K[:, 1, 2], scale * size], axis=1)
    for i, sequence in enumerate(SEQUENCES):
        part = slice(2 * i, 2 * i + 2)
        drawn = scenes.draw(dataclasses.replace(scene_of(sequence, view, TAKEN), window=window[part]), size)
        image, hands = samples["image"][part].astype(float), drawn["mask"][:, None] > 0

        def difference(du, dv, image=image, drawn=drawn, hands=hands):
            return (np.abs(np.roll(image, (dv, du), (2, 3)) - drawn["image"]) * hands).sum() / hands.sum()

        aside = min(difference(*d) for d in ((1, 0), (-1, 0), (0, 1), (0, -1)))
        assert difference(0, 0) < 0.6 * aside


def test_depth_is_the_nearest_measurement(tree):
    size = 48
    source = STBSource(tree, ("SK_depth",), **SOME)
    samples = source.read(np.arange(4), size)
    assert "image" not in samples and "image" not in source.fields(size)
    (fx, _, cx), (_, fy, cy), _ = CAMERAS["SK_depth"]
    place = np.arange(size) + 0.5
    for depth, K, s, frame in zip(*(samples[f] for f in ("depth", "K", "sequence", "frame")), strict=True):
        red, green, _ = np.asarray(Image.open(tree / f"images/{SEQUENCES[s]}/SK_depth_{frame}.png")).astype(int).T
        u = ((place - K[0, 2]) / K[0, 0] * fx + cx).astype(int)
        v = ((place - K[1, 2]) / K[1, 1] * fy + cy).astype(int)
        np.testing.assert_array_equal(depth, (red + 256 * green)[np.ix_(u, v)].T)
        assert (depth == WALL).mean() > 0.1 and (np.abs(depth - 650.0) < 150).mean() > 0.2


def test_depth_is_unknown_outside_the_image_and_never_a_mean(short):
    """A hand at the border, before a chessboard of 0 and 1000 mm with squares of one pixel."""
    place_hand(short, [-390, 0, 560])
    board = 1000 * (np.indices((480, 640)).sum(0) % 2)
    packed = np.stack([board % 256, board // 256, 0 * board], axis=-1).astype(np.uint8)
    Image.fromarray(packed).save(short / "images/B1Counting/SK_depth_0.png")
    samples = STBSource(short, ("SK_depth",), ["B1Counting"]).read(np.array([0]), 50)
    depth, K = samples["depth"][0], samples["K"][0]
    assert set(np.unique(depth)) == {0, 1000} and 0.2 < (depth == 1000).mean() < 0.45
    edge = int(K[0, 2] - K[0, 0] * CAMERAS["SK_depth"][0, 2] / CAMERAS["SK_depth"][0, 0])  # where the image begins
    assert edge > 5 and not depth[:, :edge].any() and depth[:, edge + 1].any()


def test_the_right_camera_sees_the_hand_farther_left_by_focal_length_times_baseline_over_depth(tree):
    source = STBSource(tree, **SOME)
    uv = hand.project(torch.from_numpy(source.pose), torch.tensor(STEREO)).numpy()
    left, right = uv[0::2], uv[1::2]
    depth = source.pose[0::2, :, 2]
    np.testing.assert_allclose(left[..., 0] - right[..., 0], STEREO[0, 0] * BASELINE / depth, atol=1e-9)
    np.testing.assert_allclose(left[..., 1], right[..., 1], atol=1e-9)


def test_samples_come_by_sequence_frame_and_view(tree):
    source = STBSource(tree, **SOME)
    assert source.sequences == SEQUENCES and len(source) == 8
    samples = source.read(np.arange(8), 16)
    assert samples["sequence"].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert samples["frame"].tolist() == [0, 0, 750, 750] * 2
    assert samples["view"].tolist() == [0, 1] * 4
    assert samples["content"].tolist() == [0] * 4 + [1] * 4
    left = STBSource(tree, ("BB_left",), **SOME).read(np.arange(4), 16)
    for field, values in source.read(np.array([6, 0]), 16).items():
        np.testing.assert_array_equal(values, samples[field][[6, 0]])
        np.testing.assert_array_equal(values, left[field][[3, 0]])
    right_then_left = STBSource(tree, ("BB_right", "BB_left"), ["B2Random"], 2).read(np.arange(4), 16)
    assert right_then_left["view"].tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(right_then_left["pose"][[1, 0, 3, 2]], samples["pose"][4:])


def test_by_default_both_images_of_every_pair_in_all_sequences(tmp_path, monkeypatch):
    """Images of no length will do, for none is read before it is needed."""
    monkeypatch.setattr(stb, "FRAMES", 15)
    hand_para = labels_of(scenes.pose(scene_of("B1Counting", "BB_left", [0] * 15)))
    for path in expected(tmp_path, ("BB_left", "BB_right")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch() if path.suffix == ".png" else scipy.io.savemat(path, {"handPara": hand_para})
    source = STBSource(tmp_path)
    assert len(source) == 2 * 12 * 15
    assert source.sequences == [f"B{b}{kind}" for b in (1, 2, 3, 4, 5, 6) for kind in ("Counting", "Random")]
    assert len(STBSource(tmp_path, ("BB_left",))) == 12 * 15
    (tmp_path / "images/B5Random/BB_right_7.png").unlink()
    with pytest.raises(UserError, match=r"images/B5Random/BB_right_7\.png is missing, one of 1 images"):
        STBSource(tmp_path)
    assert len(STBSource(tmp_path, ("BB_left",))) == 12 * 15


def test_a_prepared_data_set_holds_the_samples(tree, tmp_path):
    source = STBSource(tree, **SOME)
    dataset = prepare(source, 32, tmp_path, progress=False)
    assert dataset.sequences == SEQUENCES
    for field, values in source.read(np.arange(8), 32).items():
        np.testing.assert_array_equal(dataset[field], values)


def test_what_is_prepared_anew(tree, copy):
    def fingerprint(root, **options):
        return STBSource(root, **(SOME | options)).fingerprint

    first = fingerprint(tree)
    assert fingerprint(copy) == first  # wherever it lies …
    for folder in (copy / "images").iterdir():
        folder.rename(copy / folder.name)
    assert fingerprint(copy) == first  # … and however it was unpacked
    assert fingerprint(tree, views=("BB_left",)) != first
    assert fingerprint(tree, frames_per_sequence=1) != first
    Image.new("RGB", (640, 480)).save(copy / "B1Counting/BB_right_750.png")
    other_image = fingerprint(copy)
    assert other_image != first
    change(copy / "labels/B2Random_BB.mat", lambda a: a + 1e-9)
    assert fingerprint(copy) not in (first, other_image)


def doubled(root):
    for folder in (root / "images").iterdir():
        (root / folder.name).mkdir()
        folder.rename(root / folder.name / folder.name)


def wrapped(root):
    (root / "STB").mkdir()
    for name in ("images", "labels"):
        (root / name).rename(root / "STB" / name)


def labels_beside_images(root):
    for path in (root / "labels").iterdir():
        path.rename(root / "images" / path.name.rpartition("_")[0] / path.name)


def labels_on_top(root):
    for path in (root / "labels").iterdir():
        path.rename(root / path.name)


def labels_doubled(root):
    (root / "labels").rename(root / "inner")
    (root / "labels").mkdir()
    (root / "inner").rename(root / "labels/labels")


def without_images_level(root):
    for folder in (root / "images").iterdir():
        folder.rename(root / folder.name)


def behind_a_link(root):
    (root / "images").rename(root.with_name("another disk"))
    (root / "images").symlink_to(root.with_name("another disk"))


def one_inside_another(root):
    (root / "images/B2Random").rename(root / "images/B1Counting/B2Random")


def with_a_scrap_beside(root):
    """A poorer copy of a sequence above the full one, a lost label below, and what a Macintosh leaves behind."""
    (root / "labels/old").mkdir()
    (root / "labels/old/B1Counting_BB.mat").touch()
    for folder in ("B1Counting", "__MACOSX/images/B1Counting"):
        (root / folder).mkdir(parents=True)
    (root / "B1Counting/BB_left_0.png").touch()
    (root / "__MACOSX/images/B1Counting/._BB_left_0.png").touch()


@pytest.mark.parametrize("rearrange", [
    without_images_level, doubled, wrapped, labels_beside_images, labels_on_top, labels_doubled, behind_a_link,
    one_inside_another, with_a_scrap_beside,
])  # fmt: skip
def test_every_way_to_unpack_gives_the_same_samples(tree, copy, rearrange):
    rearrange(copy)
    source = STBSource(copy, **SOME)
    np.testing.assert_array_equal(source.pose, STBSource(tree, **SOME).pose)
    source.read(np.array([0, 7]), 16)
    there = {path for path in copy.rglob("*") if path.is_file() and path.stat().st_size}
    listed = set(expected(copy))
    assert there <= listed and len(listed) == 12 * (2 + 4 * 1500)


def test_write_stb_can_leave_the_images_level_out(tmp_path):
    write_stb(tmp_path, ["B3Random"], frames=1, with_images_level=False)
    assert (tmp_path / "B3Random/BB_right_0.png").exists()
    assert len(STBSource(tmp_path, sequences=["B3Random"], frames_per_sequence=1)) == 2


def test_what_is_missing_is_expected_beside_its_like(copy):
    doubled(copy)
    labels_on_top(copy)
    names = {str(path.relative_to(copy)) for path in expected(copy)}
    assert {"B6Random/B6Random/SK_depth_1499.png", "B6Random_SK.mat", "B1Counting/B1Counting/BB_left_7.png"} <= names
    empty = {str(path.relative_to(copy / "no")) for path in expected(copy / "no", ("BB_left",))}
    assert {"images/B6Random/BB_left_1499.png", "labels/B6Random_BB.mat"} <= empty and len(empty) == 12 * 1501


@pytest.fixture(scope="module")
def short_tree(tmp_path_factory):
    """A sequence of one frame, its images noise."""
    root = tmp_path_factory.mktemp("short")
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)
    (root / "images/B1Counting").mkdir(parents=True)
    (root / "labels").mkdir()
    for view in CAMERAS:
        Image.fromarray(noise).save(root / f"images/B1Counting/{view}_0.png")
    return root


@pytest.fixture
def short(short_tree, monkeypatch):
    monkeypatch.setattr(stb, "FRAMES", 1)
    return short_tree


def place_hand(root, palm):
    pose = scenes.pose(scene_of("B1Counting", "BB_left", [0]))
    hand_para = labels_of(pose - pose[:, :1] + palm)
    for camera in ("BB", "SK"):
        scipy.io.savemat(root / f"labels/B1Counting_{camera}.mat", {"handPara": hand_para})


@FUZZ
@given(
    x=st.floats(-0.6, 0.6),
    y=st.floats(-0.5, 0.5),
    z=st.floats(260, 1500),
    size=st.integers(16, 256),
    view=st.sampled_from(["BB_left", "BB_right", "SK_color"]),
)
def test_joints_stay_on_their_pixels_through_any_crop(short, x, y, z, size, view):
    """The protocol's own formulas, written out; and the image as cut out of the whole one."""
    place_hand(short, [x * z, y * z, z])
    source = STBSource(short, (view,), ["B1Counting"])
    samples = source.read(np.array([0]), size)
    pose = source.pose[0]
    uv = pose @ CAMERAS[view].T
    uv = uv[:, :2] / uv[:, 2:]
    palm = CAMERAS[view] @ source.palm[0]
    reach = uv.copy()
    reach[0] = uv[13] + 2 * (palm[:2] / palm[2] - uv[13])
    low, high = reach.min(axis=0).clip(0), np.minimum(reach.max(axis=0), [640, 480])
    extent = np.clip(2 * max((high - uv[9]).max(), (uv[9] - low).max()), 50, 500)
    zoom = np.clip(256 / extent, 1, 10)
    cropped = ((uv - uv[9]) * zoom + 128) * size / 256
    stored = hand.project(torch.from_numpy(samples["pose"]), torch.from_numpy(samples["K"]))[0].numpy()
    assert np.abs(stored - cropped).max() < 0.1

    whole = torch.tensor(read_image(short / f"images/B1Counting/{view}_0.png")).permute(2, 0, 1)[None]
    cut = crop(whole, torch.from_numpy(uv[None, 9]), torch.tensor([256 / zoom]), size)
    assert np.abs(cut.numpy().astype(int) - samples["image"]).max() <= 1  # rounding


def change(path, edit):
    array = edit(scipy.io.loadmat(path)["handPara"].copy())
    scipy.io.savemat(path, {} if array is None else {"handPara": array})


def put(array, place, value):
    array[place] = value
    return array


def cut_short(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


LABEL = "labels/B1Counting_BB.mat"


@pytest.mark.parametrize("damage, message", [
    (lambda r: (r / LABEL).unlink(), r"labels/B1Counting_BB\.mat is missing\. Looked in .*/stb, .*/labels"),
    (lambda r: cut_short(r / LABEL), r"labels/B1Counting_BB\.mat cannot be read as a MATLAB file"),
    (lambda r: (r / LABEL).write_bytes(b""), r"B1Counting_BB\.mat cannot be read as a MATLAB file"),
    (lambda r: (r / LABEL).write_text("404: Not Found"), r"B1Counting_BB\.mat cannot be read as a MATLAB file"),
    (lambda r: change(r / LABEL, lambda a: None), r"B1Counting_BB\.mat contains no “handPara”"),
    (lambda r: change(r / LABEL, lambda a: a[..., :-1]), r"“handPara” is float64 \(3, 21, 1499\) instead of"),
    (lambda r: change(r / LABEL, lambda a: a.transpose(2, 1, 0)), r"is float64 \(1500, 21, 3\) instead of"),
    (lambda r: change(r / LABEL, lambda a: a.astype(str)), r"“handPara” is <U"),
    (lambda r: change(r / LABEL, lambda a: a + 1j), r"“handPara” is complex"),
    (lambda r: change(r / LABEL, lambda a: put(a, (1, 4, 77), np.nan)), r"of frame 77 contains a value that is"),
    (lambda r: change(r / LABEL, lambda a: put(a, (1, 4, 77), -np.inf)), r"of frame 77 contains a value that is"),
    (lambda r: change(r / LABEL, lambda a: a / 1000), r"BB\.mat: frame 0 is not a hand in mm"),
    (lambda r: change(r / LABEL, lambda a: put(a, (0, 4, 77), 1e5)), r"BB\.mat: frame 77 is not a hand in mm"),
    (lambda r: change(r / LABEL, lambda a: put(a, (..., 10, 77), a[:, 9, 77])), r"BB\.mat: frame 77 is not a hand"),
    (lambda r: change(r / LABEL, lambda a: -a), r"BB\.mat: frame 0 is not a hand in mm in front of a camera"),
    (lambda r: (r / "images/B2Random/BB_left_750.png").unlink(), r"BB_left_750\.png is missing, one of 1 images"),
    (lambda r: shutil.rmtree(r / "images/B2Random"), r"images/B2Random/BB_left_0\.png is missing\. Looked in"),
    (lambda r: shutil.rmtree(r / "images"), r"/stb is not the STB data set: .*B1Counting.*Looked in .*/stb"),
    (lambda r: r.rename(r.with_name("moved")), r"/stb does not exist"),
])  # fmt: skip
def test_bad_trees_are_named_with_what_to_do(copy, damage, message):
    damage(copy)
    with pytest.raises(UserError, match=message + r".*`dvae download stb` then shows how"):
        STBSource(copy, **SOME)


@pytest.mark.parametrize("damage, message", [
    (lambda path: cut_short(path), r"BB_left_0\.png cannot be read as an image"),
    (lambda path: path.write_bytes(b""), r"BB_left_0\.png cannot be read as an image"),
    (lambda path: path.write_text("404: Not Found"), r"BB_left_0\.png cannot be read as an image"),
    (lambda path: Image.new("RGB", (480, 640)).save(path), r"BB_left_0\.png has 480 × 640 pixels instead of 640 × 480"),
])  # fmt: skip
def test_bad_images_are_named(copy, damage, message):
    source = STBSource(copy, **SOME)
    damage(copy / "images/B1Counting/BB_left_0.png")
    source.read(np.array([1, 2]), 16)
    with pytest.raises(UserError, match=message):
        source.read(np.arange(8), 16)


@pytest.mark.parametrize("options, message", [
    ({"views": ("SK_depth", "SK_color")}, "SK_depth has depth instead of colours: use it without other views"),
    ({"views": ("BB_middle",)}, "views of STB are BB_middle: choose one or more of BB_left, BB_right, SK_color, SK_de"),
    ({"views": ()}, "views of STB are none"),
    ({"views": ("BB_left", "BB_left")}, "each once"),
    ({"sequences": ["B7Counting"]}, "sequences of STB are B7Counting: choose one or more of B1Counting, B1Random"),
    ({"frames_per_sequence": 0}, "frames_per_sequence is 0: it must be between 1 and 1500"),
    ({"frames_per_sequence": 1501}, "frames_per_sequence is 1501: it must be between 1 and 1500"),
])  # fmt: skip
def test_impossible_wishes_are_refused(tree, options, message):
    with pytest.raises(UserError, match=message):
        STBSource(tree, **(SOME | options))


@st.composite
def spoilt(draw, contents):
    """One of some files, cut short or with a few bytes changed."""
    content = bytearray(draw(st.sampled_from(contents)))
    if draw(st.booleans()):
        return bytes(content[: draw(st.integers(0, len(content) - 1))])
    for _ in range(draw(st.integers(1, 4))):
        content[draw(st.integers(0, len(content) - 1))] ^= draw(st.integers(1, 255))
    return bytes(content)


@settings(FUZZ, max_examples=120)
@given(data=st.data())
def test_spoilt_labels_are_refused_or_still_hands(short, data):
    label = short / "labels/B1Counting_BB.mat"
    place_hand(short, [20, 10, 600])
    plain = label.read_bytes()
    scipy.io.savemat(label, {"handPara": scipy.io.loadmat(label)["handPara"]}, do_compression=True)
    label.write_bytes(data.draw(spoilt([plain, label.read_bytes()])))
    try:
        source = STBSource(short, sequences=["B1Counting"])
    except UserError as error:
        assert "B1Counting_BB.mat" in str(error)
        return
    samples = source.read(np.arange(2), 16)
    assert all(np.isfinite(samples[field]).all() for field in ("pose", "palm", "K"))
    assert samples["pose"][..., 2].min() >= 50
    assert np.linalg.norm(samples["pose"] - samples["palm"][:, None], axis=-1).max() <= 301


@settings(FUZZ, max_examples=60)
@given(data=st.data())
def test_spoilt_images_are_refused_or_still_images(short, tree, data):
    plain = short / "plain.png"
    Image.new("RGB", (640, 480), (90, 60, 50)).save(plain)
    drawn = tree / "images/B1Counting/BB_left_0.png"
    place_hand(short, [20, 10, 600])
    source = STBSource(short, ("SK_color",), ["B1Counting"])
    path = short / "images/B1Counting/SK_color_0.png"
    path.write_bytes(data.draw(spoilt([plain.read_bytes(), drawn.read_bytes()])))
    try:
        assert source.read(np.array([0]), 16)["image"].shape == (1, 3, 16, 16)
    except UserError as error:
        assert "SK_color_0.png" in str(error)


@pytest.fixture
def first_frame():
    return STBSource(views=("BB_left",), sequences=["B1Counting"], frames_per_sequence=1)


@pytest.mark.real_data("stb")
def test_the_references_of_the_first_frame(first_frame):
    """The protocol's values for frame 0 of B1Counting as the left camera sees it; joints as RHD numbers them, in m."""
    samples = first_frame.read(np.array([0]), 256)
    rhd = np.argsort(hand.ORDERS["rhd"])
    assert samples["palm"][0] / 1000 == pytest.approx([0.12650, 0.05684, 0.66435], abs=1e-5)
    with_palm = first_frame.pose[0].copy()
    with_palm[0] = first_frame.palm[0]
    with_palm = torch.from_numpy(with_palm)
    scale = hand.bone_scale(with_palm)
    assert scale / 1000 == pytest.approx(0.0399997, abs=1e-7)
    K = samples["K"][0]
    zoom = K[0, 0] / 822.79041
    assert zoom == pytest.approx(1.25641, abs=1e-5) and 256 / zoom == pytest.approx(203.7549, abs=1e-3)
    centre = 318.47345 - (K[0, 2] - 128) / zoom, 250.31296 - (K[1, 2] - 128) / zoom
    assert centre == pytest.approx((452.473, 277.702), abs=1e-3)
    cpose, viewpoint = canonicalise(with_palm / scale)
    cpose = cpose[rhd]
    turn = [[0.88411, -0.45983, -0.08303], [0.44913, 0.88530, -0.12053], [0.12893, 0.06927, 0.98923]]
    np.testing.assert_allclose(viewpoint, turn, atol=1e-5)
    canonical = {
        0: (0, 0, 0),
        1: (-1.03325, -1.07331, -0.24141),
        4: (-0.63883, 0.43960, 0),
        9: (0.48221, -3.03742, -0.27384),
        12: (0, -0.97628, 0),
        20: (0.78232, -0.48269, 0),
    }
    for joint, place in canonical.items():
        assert cpose[joint].tolist() == pytest.approx(place, abs=1e-5), joint


@pytest.mark.real_data("stb")
def test_the_wrist_that_the_window_sees(first_frame):
    assert first_frame.uv[0, 0].tolist() == pytest.approx([477.24, 368.75], abs=0.01)


@pytest.mark.real_data("stb")
def test_the_real_bones_do_not_stretch():
    joints = stb.read_labels(places.data_root() / "stb/labels/B1Counting_BB.mat")
    bones = np.array([bone for bone in hand.BONES if bone[0] > 0])
    length = np.linalg.norm(joints[:, bones[:, 0]] - joints[:, bones[:, 1]], axis=-1)
    assert np.ptp(length, axis=0).max() < 0.01
    assert length[:, bones[:, 0].tolist().index(9)] == pytest.approx(40.00, abs=0.01)


@pytest.mark.real_data("stb")
def test_the_real_joints_lie_on_the_hand(first_frame):
    """Skin is redder than green and greener than blue, the flowers behind it are not. Labels err by a few pixels."""
    samples = first_frame.read(np.array([0]), 200)
    red, green, blue = samples["image"][0].astype(int)
    skin = binary_opening((red > green + 10) & (green > blue + 3), iterations=2)
    off_skin = distance_transform_edt(~skin)
    uv = hand.project(torch.tensor(samples["pose"]), torch.tensor(samples["K"]))[0].numpy()

    def outside(shift):
        u, v = (uv + shift).clip(0, 199).astype(int).T
        return off_skin[v, u]

    assert (outside([0, 0]) < 8).all() and (outside([0, 0]) == 0).sum() >= 18
    assert all(outside(s).max() > 12 for s in ([20, 0], [-20, 0], [0, 20], [0, -20]))
