"""RHD: the protocol's reference values on two real samples, rendered copies of the set, and files that are bad."""

import functools
import json
import math
import pickle
import shutil

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from PIL import Image

from dvae_lib import hand, settings
from dvae_lib.datasets import rhd
from dvae_lib.datasets.dataset import prepare
from dvae_lib.datasets.rhd import RHDSource, decode_depth, expected, is_right, window
from dvae_lib.datasets.rhd_labels import read_labels
from dvae_lib.files import UserError
from dvae_lib.hand.canonical import canonicalise
from tests.helpers import rhd_tree

TRAINING, EVALUATION = 4, 2
N = TRAINING + EVALUATION
SAMPLES = settings.data_root() / "rhd-samples"
# Palm root, uv cut to whole pixels: (column, row) of the crop's centre, extent, zoom, scale (mm), canonical little MCP.
REFERENCE = {
    "00111": ((215, 131), 98, 2.61224, 34.63, (1.060, -0.720, 0)),
    "01111": ((205, 146), 90, 2.84444, 36.86, (1.037, -0.895, 0)),
}


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    return rhd_tree.write_rhd(tmp_path_factory.mktemp("rhd"), TRAINING, EVALUATION)


@pytest.fixture
def copy(tree, tmp_path):
    return shutil.copytree(tree, tmp_path / "RHD_published_v2")


@pytest.fixture(scope="session")
def drawn():
    """What the tree was written from, of both parts."""
    parts = [rhd_tree.draw("training", TRAINING), rhd_tree.draw("evaluation", EVALUATION)]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@pytest.fixture(scope="session")
def source(tree):
    return RHDSource(tree)


@pytest.fixture(scope="session")
def samples(source):
    return source.read(np.arange(N), 96)


def dominant(drawn, name):
    """The dominant hand's rows of a drawn label (N, 42, …), still in the data set's order."""
    return np.stack(
        [label[21:] if right else label[:21] for label, right in zip(drawn[name], drawn["right"], strict=True)]
    )


def test_samples_follow_the_schema_and_are_in_order(source, samples, drawn):
    assert samples.keys() == source.fields(96).keys()
    for name, (shape, dtype) in source.fields(96).items():
        assert (samples[name].shape, samples[name].dtype) == ((N, *shape), dtype)
    assert len(source) == N and source.sequences == ["training", "evaluation"]
    assert samples["sequence"].tolist() == [0] * TRAINING + [1] * EVALUATION
    assert samples["frame"].tolist() == [*range(TRAINING), *range(EVALUATION)]
    assert samples["right"].tolist() == drawn["right"].tolist() == [False, True] * (N // 2)


def test_any_samples_in_any_order_are_the_same(source, samples):
    some = np.array([4, 0, 3])
    for name, found in source.read(some, 96).items():
        if name == "image":  # how finely it is sampled depends on the largest window that is cut along with it
            assert np.abs(found.astype(int) - samples[name][some]).mean() < 1
        else:
            np.testing.assert_array_equal(found, samples[name][some])


def test_poses_are_the_dominant_hands_in_mm_and_in_the_books_order(samples, drawn):
    xyz, visible = dominant(drawn, "xyz"), dominant(drawn, "visible")
    by_hand = [0, 4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13, 20, 19, 18, 17]  # tips come first in RHD
    np.testing.assert_allclose(samples["pose"], xyz[:, by_hand], atol=1e-3)
    np.testing.assert_array_equal(samples["visible"], visible[:, by_hand])
    assert 25 < hand.bone_scale(torch.from_numpy(samples["pose"])).min() < 60


@pytest.mark.parametrize("size", [64, 256])
def test_joints_project_to_where_the_crop_put_their_labels(source, drawn, size):
    """To 0.1 pixel of the crop, by the protocol's formula from the labelled uv."""
    samples = source.read(np.arange(N), size)
    found = hand.project(torch.from_numpy(samples["pose"]), torch.from_numpy(samples["K"])).numpy()
    for i, (uv, visible) in enumerate(zip(dominant(drawn, "uv"), dominant(drawn, "visible"), strict=True)):
        centre, extent = protocols_window(uv, visible)
        zoom = min(max(256 / extent, 1), 10) * size / 256
        expected = (uv - centre) * zoom + size / 2
        assert np.abs(found[i] - expected[hand.ORDERS["rhd"]]).max() < 0.1


def protocols_window(uv, visible, root="palm"):
    """The protocol's crop of one hand in RHD's order, step by step: its centre, and its extent."""
    points = {j: (math.trunc(uv[j][0]), math.trunc(uv[j][1])) for j in range(21)}
    seen = {j: bool(visible[j]) for j in range(21)}
    if root == "palm":
        points[0] = ((points[0][0] + points[12][0]) / 2, (points[0][1] + points[12][1]) / 2)
        seen[0] = seen[0] or seen[12]
    centre = points[12]
    reach = []
    for axis in range(2):
        values = [points[j][axis] for j in range(21) if seen[j]]
        if values:
            low, high = max(min(values), 0), min(max(values), 320)
            reach += [high - centre[axis], centre[axis] - low]
    return np.array(centre), min(max(2 * max(reach), 50), 500) if reach else 200


@examples(max_examples=200, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), root=st.sampled_from(["palm", "wrist"]), hidden=st.floats(0, 1))
def test_windows_are_the_protocols(seed, root, hidden):
    generator = np.random.default_rng(seed)
    uv = generator.normal(generator.uniform(0, 320, 2), generator.uniform(5, 120), (21, 2))
    visible = generator.random(21) >= hidden
    order = hand.ORDERS["rhd"]
    centre, side = window(torch.from_numpy(uv[order])[None], torch.from_numpy(visible[order])[None], root)
    expected_centre, extent = protocols_window(uv, visible, root)
    np.testing.assert_allclose(centre[0], expected_centre, atol=1e-9)
    assert 256 / side.item() == pytest.approx(min(max(256 / extent, 1), 10))


def test_the_root_decides_whether_the_window_sees_the_wrist(tree):
    palm, wrist = (RHDSource(tree, root_joint=root) for root in ("palm", "wrist"))
    narrow, wide = (source.read(np.arange(N), 32) for source in (palm, wrist))
    np.testing.assert_array_equal(narrow["pose"], wide["pose"])  # the wrist, whatever the window saw
    zoom = narrow["K"][:, 0, 0] / wide["K"][:, 0, 0]
    assert (zoom >= 1).all() and zoom.max() > 1.02
    assert palm.fingerprint != wrist.fingerprint


def test_the_window_sees_the_palm_if_the_wrist_or_the_middle_finger_can_be_seen():
    uv, visible = torch.full((1, 21, 2), 100.0), torch.zeros(1, 21, dtype=torch.bool)
    uv[0, 0, 0] = 300  # so the palm is at 200, 100 from the middle MCP
    sides = []
    for joints in ([5], [5, 0], [5, 9], [5, 0, 9]):
        visible[:] = False
        visible[0, joints] = True
        sides.append(window(uv, visible)[1].item())
    assert sides == [50, 200, 200, 200]
    assert window(uv, visible, "wrist")[1].item() == 256  # the protocol's widest: extent 400 is not zoomed


def test_masks_and_depths_are_cut_with_the_image(samples, drawn, source):
    """Joints that can be seen lie on their own hand, most of them a little behind its surface."""
    uv = hand.project(torch.from_numpy(samples["pose"]), torch.from_numpy(samples["K"])).numpy()
    behind = []
    for i, joint in zip(*np.nonzero(samples["visible"]), strict=True):
        u, v = np.floor(uv[i, joint]).astype(int)
        if 0 <= u < 96 and 0 <= v < 96:
            part, depth = samples["mask"][i, v, u], samples["depth"][i, v, u]
            assert part == 1 or (18 <= part <= 33 if samples["right"][i] else 2 <= part <= 17)  # 1: a sleeve
            behind.append(samples["pose"][i, joint, 2] - float(depth))
    assert len(behind) > 15 * N
    assert min(behind) > -2 and np.median(behind) < 30 and max(behind) < 150  # mm; in a fist a finger hides another


def test_the_other_hand_keeps_its_ids(source, drawn):
    """Both hands are in the masks on disk, so a crop that reaches the other one shows it as what it is."""
    for i in range(N):
        whole = rhd.read_image(source.file(i, "mask"))[..., 0]
        np.testing.assert_array_equal(whole, drawn["mask"][i])
        assert ((whole > 1) & (whole < 18)).any() and (whole > 17).any()


def test_depth_comes_back_from_the_file_as_it_was_drawn(source, drawn):
    assert drawn["depth"].max() > 300
    for i in range(N):
        found = decode_depth(rhd.read_image(source.file(i, "depth")))
        np.testing.assert_array_equal(found, drawn["depth"][i])


def test_depth_is_a_fraction_of_five_metres_to_half_a_millimetre():
    steps = np.arange(65536)
    image = np.stack([steps // 256, steps % 256, steps * 0], axis=-1).astype(np.uint8)[None]
    assert np.abs(decode_depth(image)[0] - steps / 65535 * 5000).max() <= 0.5
    depth = np.random.default_rng(0).uniform(0, 5000, (1, 1000))
    read = decode_depth(rhd_tree.encode_depth(depth))
    assert np.abs(read - depth).max() <= 0.5 + 2500 / 65535 + 1e-9


@pytest.mark.parametrize("counts, right", [
    ({17: 3, 18: 2}, False), ({17: 2, 18: 3}, True), ({17: 2, 18: 2}, True), ({2: 1}, False), ({33: 1}, True),
    ({1: 50, 2: 2, 33: 1}, False), ({1: 50}, True), ({}, True),
])  # fmt: skip
def test_the_hand_with_more_pixels_is_dominant_and_a_draw_is_a_right_hand(counts, right):
    mask = np.zeros((1, 8, 8), np.uint8)
    mask.flat[: sum(counts.values())] = np.repeat(list(counts), list(counts.values()))
    assert is_right(mask).tolist() == [right]


@pytest.mark.parametrize("place", ["", "{0}", "{0}/{0}", "RHD_v1-1/{0}"])
def test_the_data_set_is_found_however_it_was_unpacked(tree, tmp_path, place, monkeypatch):
    root = tmp_path / "rhd"
    shutil.copytree(tree, root / place.format("RHD_published_v2"))
    assert len(RHDSource(root)) == N
    monkeypatch.setenv("DVAE_DATA_ROOT", str(tmp_path))
    assert len(RHDSource()) == N


def test_a_part_or_a_share_can_be_had(tree):
    assert RHDSource(tree, split="training").labels.frame.tolist() == [0, 1, 2, 3]
    part = RHDSource(tree, split="evaluation")
    assert len(part) == EVALUATION and part.read(np.array([1]), 16)["sequence"].tolist() == [1]
    share = RHDSource(tree, count=3).read(np.arange(3), 16)
    assert (share["sequence"].tolist(), share["frame"].tolist()) == ([0, 0, 1], [0, 2, 0])
    assert RHDSource(tree, split="training", count=1).labels.frame.tolist() == [0]
    for count in (1, N + 1):
        with pytest.raises(UserError, match=f"count is {count}: it must be between 2 and {N}"):
            RHDSource(tree, count=count)
    with pytest.raises(UserError, match="split of RHD is “test”: choose both, training or evaluation"):
        RHDSource(tree, split="test")


@pytest.mark.parametrize("wanted", [2, 3, 17, 1000, 43985, 43986])
def test_shares_keep_the_parts_in_proportion(wanted):
    training, evaluation = rhd._shares([41258, 2728], wanted)
    assert training + evaluation == wanted
    assert abs(evaluation - wanted * 2728 / 43986) <= 1 and evaluation >= 1


def test_the_complete_set_is_what_was_published(tree, tmp_path):
    assert {path for path in tree.rglob("*") if path.is_file()} < set(expected(tree.parent))
    files = expected(tmp_path)
    assert len(files) == len(set(files)) == 2 + 3 * (41258 + 2728)
    names = {path.relative_to(tmp_path / "RHD_published_v2").as_posix() for path in files}
    assert {"training/color/41257.png", "evaluation/depth/00000.png", "evaluation/anno_evaluation.pickle"} <= names


def test_labels_and_sizes_of_images_decide_where_it_is_cached(copy):
    before = RHDSource(copy).fingerprint
    assert RHDSource(copy).fingerprint == before
    assert RHDSource(copy, count=3).fingerprint != before
    rhd_tree.write_annotation(copy, "evaluation", annotation(copy), protocol=4)
    assert RHDSource(copy).fingerprint["labels"] != before["labels"]
    Image.new("L", (320, 320), 17).save(copy / "training/mask/00002.png")
    assert RHDSource(copy).fingerprint["images"] != before["images"]


def test_it_can_be_prepared(source, samples, tmp_path):
    dataset = prepare(source, 96, tmp_path, progress=False)
    for name, found in samples.items():
        np.testing.assert_array_equal(dataset[name], found)


# Bad files.


def annotation(folder, part="evaluation"):
    return pickle.loads((folder / part / f"anno_{part}.pickle").read_bytes())


def change(folder, edit):
    content = annotation(folder)
    rhd_tree.write_annotation(folder, "evaluation", edit(content) or content)


def put(key, place, value):
    def edit(content):
        content[1][key][place] = value

    return edit


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


class Touch:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


LABEL = "evaluation/anno_evaluation.pickle"
ENTRY = r"anno_evaluation\.pickle: “{}” of entry 1 "


@pytest.mark.parametrize("damage, message", [
    (lambda f: shutil.rmtree(f), r"RHD_published_v2 is not RHD: it has no folder “RHD_published_v2”"),
    (lambda f: (f / LABEL).unlink(), r"anno_evaluation\.pickle does not exist"),
    (lambda f: shutil.rmtree(f / "evaluation"), r"anno_evaluation\.pickle does not exist"),
    (lambda f: cut_short(f / LABEL), r"anno_evaluation\.pickle was not opened: it is damaged or cut short"),
    (lambda f: (f / LABEL).write_bytes(b""), r"anno_evaluation\.pickle was not opened: it is damaged or cut short"),
    (lambda f: (f / LABEL).write_bytes(b"<html>404"), r"anno_evaluation\.pickle was not opened: it is damaged"),
    (lambda f: change(f, lambda c: [c]), r"anno_evaluation\.pickle is not an annotation of RHD"),
    (lambda f: rhd_tree.write_annotation(f, "evaluation", {}), r"anno_evaluation\.pickle is not an annotation of RHD"),
    (lambda f: change(f, lambda c: c.update(a=c[0])), r"has an entry whose key is not the number of an image"),
    (lambda f: change(f, lambda c: {-1: c[0]}), r"requires a key that is neither text nor an integer below 100000"),
    (lambda f: change(f, lambda c: c[1].pop("K") is None), r"anno_evaluation\.pickle: entry 1 has no “K”"),
    (lambda f: change(f, lambda c: c.update({1: 5})), r"anno_evaluation\.pickle: entry 1 has no “xyz”"),
    (lambda f: change(f, lambda c: c[1].update(xyz=[1.0])), ENTRY.format("xyz") + "is a list, not an array"),
    (lambda f: change(f, lambda c: c[1].update(xyz=c[1]["xyz"][:21])),
     ENTRY.format("xyz") + r"is float32 \(21, 3\) instead of numbers \(42, 3\)"),
    (lambda f: change(f, lambda c: c[1].update(uv_vis=c[1]["uv_vis"] > 0)),
     ENTRY.format("uv_vis") + r"is bool \(42, 3\) instead of numbers"),
    (lambda f: change(f, put("xyz", (3, 1), np.nan)), ENTRY.format("xyz") + "contains a value that is not a"),
    (lambda f: change(f, put("uv_vis", (3, 0), np.inf)), ENTRY.format("uv_vis") + "contains a value that is not a"),
    (lambda f: change(f, put("uv_vis", (3, 0), 1e300)), ENTRY.format("uv_vis") + "contains a value that is not a"),
    (lambda f: change(f, put("K", (0, 0), 0)), r"entry 1 is implausible: “K” is not a camera"),
    (lambda f: change(f, put("K", (1, 2), 500)), r"entry 1 is implausible: “K” is not a camera"),
    (lambda f: change(f, put("K", (2, 2), 2)), r"entry 1 is implausible: “K” is not a camera"),
    (lambda f: change(f, lambda c: c[1].update(xyz=1000 * c[1]["xyz"])), "1 is implausible: “xyz” is not a hand"),
    (lambda f: change(f, lambda c: c[1].update(xyz=-c[1]["xyz"])), "1 is implausible: “xyz” is not a hand"),
    (lambda f: (f / "training/color/00002.png").unlink(), r"training/color/00002\.png is missing, one of 1 images"),
    (lambda f: (f / "training/mask/00000.png").unlink(), r"training/mask/00000\.png is missing, one of 1 images"),
    (lambda f: shutil.rmtree(f / "evaluation/depth"), r"evaluation/depth/00000\.png is missing, one of 2 images"),
])  # fmt: skip
def test_bad_labels_and_missing_images_are_named_with_what_to_do(copy, damage, message):
    damage(copy)
    with pytest.raises(UserError, match=message + r".* and run `dvae download rhd --accept-licence`"):
        RHDSource(copy)


def test_a_hostile_annotation_is_refused_before_it_runs(copy, tmp_path):
    change(copy, lambda content: content[0].update(K=Touch(tmp_path / "trace")))
    with pytest.raises(UserError, match=r"anno_evaluation\.pickle was not opened: it requires .*open"):
        RHDSource(copy)
    assert not (tmp_path / "trace").exists()


def save(path, mode="RGB", size=(320, 320), colour=0):
    Image.new(mode, size, colour).save(path)


@pytest.mark.parametrize("name, damage, message", [
    ("color", cut_short, "cannot be read as an image: it is damaged, cut short"),
    ("mask", cut_short, "cannot be read as an image: it is damaged, cut short"),
    ("depth", cut_short, "cannot be read as an image: it is damaged, cut short"),
    ("depth", lambda p: p.write_bytes(b""), "cannot be read as an image"),
    ("mask", lambda p: p.unlink(), "does not exist"),
    ("color", lambda p: save(p, size=(320, 240)), "has 320 × 240 pixels instead of 320 × 320"),
    ("mask", lambda p: save(p, "L", (256, 320)), "has 256 × 320 pixels instead of 320 × 320"),
    ("mask", lambda p: save(p, "L", colour=34), "is not a mask of RHD: its part ids go up to 34, beyond 33"),
    ("mask", lambda p: save(p, "L", colour=1), "shows neither hand, but the label states that joints are visible"),
])  # fmt: skip
def test_bad_images_are_named(copy, name, damage, message):
    source = RHDSource(copy)
    damage(source.file(5, name))
    with pytest.raises(UserError, match=rf"evaluation/{name}/00001\.png {message}"):
        source.read(np.arange(N), 16)
    assert len(source.read(np.arange(5), 16)["pose"]) == 5


def test_an_image_that_shows_no_hand_and_says_so_is_a_sample_of_which_nothing_counts(copy):
    """The protocol has a right hand there, and a window of 200 pixels."""
    change(copy, lambda content: content[1]["uv_vis"][:, 2].fill(0))
    source = RHDSource(copy)
    save(source.file(5, "mask"), "L")
    sample = source.read(np.array([5]), 100)
    assert sample["right"].all() and not sample["visible"].any()
    assert sample["K"][0, 0, 0] == pytest.approx(source.labels.K[5, 0, 0] / 2)


CHANGES = st.lists(st.tuples(st.integers(0), st.integers(0, 255)), min_size=1, max_size=4)
CUT = st.one_of(st.none(), st.floats(0, 1))


def damaged(content, changes, cut):
    content = bytearray(content)
    for place, byte in changes:
        content[place % len(content)] = byte
    return bytes(content if cut is None else content[: int(cut * len(content))])


@examples(max_examples=200, deadline=None, derandomize=True)
@given(changes=CHANGES, cut=CUT, protocol=st.integers(2, 5))
def test_a_damaged_annotation_gives_labels_that_can_be_or_an_error_that_names_it(
    tmp_path_factory, changes, cut, protocol
):
    path = tmp_path_factory.getbasetemp() / "anno_fuzzed.pickle"
    path.write_bytes(damaged(whole_annotation(protocol), changes, cut))
    try:
        labels = read_labels(path)
    except UserError as error:
        assert str(path) in str(error)
    else:
        assert labels.xyz.shape == (len(labels), 42, 3) and labels.visible.shape == (len(labels), 42)
        assert all(np.isfinite(array).all() for array in (labels.xyz, labels.uv, labels.K))
        assert (labels.K[:, 0, 0] > 30).all()


@functools.cache
def whole_annotation(protocol):
    return pickle.dumps(rhd_tree.entries(rhd_tree.draw("evaluation", EVALUATION)), protocol)


@pytest.fixture(scope="session")
def fuzzed(tree, tmp_path_factory):
    folder = shutil.copytree(tree, tmp_path_factory.mktemp("fuzzed") / "rhd")
    for kind in rhd.KINDS:
        Image.open(folder / f"evaluation/{kind}/00000.png").save(folder / f"evaluation/{kind}/00000.png", optimize=True)
    return RHDSource(folder, split="evaluation", count=1)


@pytest.mark.parametrize("kind", rhd.KINDS)
def test_a_damaged_image_gives_a_sample_or_an_error_that_names_it(fuzzed, kind):
    path = fuzzed.file(0, kind)
    content = path.read_bytes()

    @examples(max_examples=60, deadline=None, derandomize=True)
    @given(changes=CHANGES, early=st.booleans(), cut=CUT)
    def damage(changes, early, cut):
        if early:  # where a file says what it is
            changes = [(place % 64, byte) for place, byte in changes]
        path.write_bytes(damaged(content, changes, cut))
        try:
            assert fuzzed.read(np.array([0]), 16)[{"color": "image"}.get(kind, kind)].shape[-2:] == (16, 16)
        except UserError as error:
            assert str(path) in str(error)

    try:
        damage()
    finally:
        path.write_bytes(content)


# The two real samples. Both are left hands, without a mask, and of the other hand there is no label.


def real_samples():
    return json.loads((SAMPLES / "samples.json").read_text())


def write_real(folder, mirrored):
    """Writes the real samples as a part “training” of RHD, or their mirror images, in which they are right hands."""
    image, xyz, uv_vis, K, mask = [], [], [], [], []
    for sample in real_samples():
        picture, own = np.asarray(Image.open(SAMPLES / sample["file"]).convert("RGB")), slice(0, 21)
        points, joints = np.array(sample["uv_vis"]), np.array(sample["xyz_mm"]) / 1000
        part = 17
        if mirrored:  # about the camera's axis, which stands at 160 of 320 pixels
            picture, own, part = picture[:, ::-1], slice(21, 42), 33
            points, joints = points * [-1, 1, 1] + [320, 0, 0], joints * [-1, 1, 1]
        xyz.append(np.zeros((42, 3)))
        uv_vis.append(np.zeros((42, 3)))
        xyz[-1][own], uv_vis[-1][own] = joints, points
        image.append(picture)
        K.append(np.array(sample["K"], dtype=float))
        mask.append(np.full((320, 320), part, np.uint8))
    rhd_tree.write_part(folder, "training", np.stack(image), np.stack(mask), np.zeros_like(image))
    content = {i: {"xyz": xyz[i], "uv_vis": uv_vis[i], "K": K[i]} for i in range(len(K))}
    rhd_tree.write_annotation(folder, "training", content)
    return RHDSource(folder, split="training")


@pytest.mark.real_data("rhd-samples")
@pytest.mark.parametrize("mirrored", [False, True])
def test_reference_values_of_the_real_samples(tmp_path, mirrored):
    """Centre, extent, zoom, scale and canonical pose; those of a hand and of its mirror image are the same."""
    source = write_real(tmp_path, mirrored)
    samples = source.read(np.arange(2), 256)
    assert samples["right"].tolist() == [mirrored] * 2 and samples["visible"].all()
    pose = hand.with_root(torch.from_numpy(samples["pose"]))
    cpose, viewpoint = canonicalise(pose, torch.from_numpy(samples["right"]))
    for i, sample in enumerate(real_samples()):
        centre, extent, zoom, scale, little = REFERENCE[sample["file"][:5]]
        assert samples["K"][i, 0, 0] / source.labels.K[i, 0, 0] == pytest.approx(zoom, abs=1e-5)
        assert 256 / zoom == pytest.approx(extent, abs=1e-3)
        # K' = A K puts the principal point, 160, at (160 − centre) zoom + 128; a mirrored uv is cut the other way.
        found = 160 - (samples["K"][i, :2, 2] - 128) / zoom
        if mirrored:
            found[0] = 320 - found[0]
        np.testing.assert_allclose(found, centre, atol=1.001 if mirrored else 1e-3)
        assert hand.bone_scale(pose)[i].item() == pytest.approx(scale, abs=0.005)
        np.testing.assert_allclose(cpose[i, hand.LITTLE_MCP] / hand.bone_scale(pose)[i], little, atol=6e-4)
        assert torch.linalg.det(viewpoint[i]).item() == pytest.approx(1, abs=1e-5)


@pytest.mark.real_data("rhd-samples")
def test_a_real_hand_and_its_mirror_image_have_one_canonical_pose(tmp_path):
    left, right = (write_real(tmp_path / str(mirrored), mirrored).read(np.arange(2), 64) for mirrored in (False, True))
    both = [
        canonicalise(hand.with_root(torch.from_numpy(s["pose"])), torch.from_numpy(s["right"])) for s in (left, right)
    ]
    torch.testing.assert_close(both[0][0], both[1][0], atol=1e-3, rtol=0)  # mm
    assert (both[0][1] - both[1][1]).abs().max() > 0.1  # seen from another side
    # The pictures are mirror images too, but for the cut to whole pixels, which moves the window by one.
    difference = left["image"].astype(float) - right["image"][..., ::-1]
    assert np.abs(difference).mean() < 12


@pytest.mark.real_data("rhd-samples")
def test_real_labels_agree_with_the_projected_joints():
    """The printed uv are rounded to a tenth of a pixel from 100 on; else they are where K puts xyz, within 0.08."""
    for sample in real_samples():
        uv = hand.project(torch.tensor(sample["xyz_mm"]), torch.tensor(sample["K"]))
        difference = (uv - torch.tensor(sample["uv_vis"])[:, :2]).abs()
        assert difference.max() < 0.08 and difference.mean() < 0.03


@pytest.mark.real_data("rhd-samples")
def test_real_joints_lie_on_skin(tmp_path):
    """Every joint of 00111 is on skin, which is redder than it is blue; moved by a fifth of the crop some are not."""
    samples = write_real(tmp_path, False).read(np.arange(1), 128)
    u, v = hand.project(torch.tensor(samples["pose"]), torch.tensor(samples["K"])).numpy()[0].T
    redness = samples["image"][0, 0].astype(float) - samples["image"][0, 2]

    def on_skin(right, down):
        return (redness[(v + down).astype(int).clip(0, 127), (u + right).astype(int).clip(0, 127)] > 5).sum()

    assert on_skin(0, 0) == 21
    assert max(on_skin(25, 0), on_skin(-25, 0), on_skin(0, 25), on_skin(0, -25)) < 20
