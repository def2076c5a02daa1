"""`dvae label`: a folder of photographs and a video become data that an experiment trains on."""

import av
import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dvae_lib import label as module
from dvae_lib import settings
from dvae_lib.cli import app
from dvae_lib.datasets import open_source, own, units
from dvae_lib.datasets.dataset import Dataset
from dvae_lib.detect import Detector, Hand
from dvae_lib.experiments.run import Run, load_or_train
from dvae_lib.files import UserError
from dvae_lib.hand import project
from dvae_lib.label import label

# A right hand, fingers up: from the wrist, in lengths of the line from there to the mark at the thumb.
TEMPLATE = np.array([[0, 0], *([0.8 - 0.4 * finger, -0.5 - 0.4 * joint] for finger in range(5) for joint in range(4))])
WIDTH, HEIGHT = 320, 240


def scene(wrist, length, left=False, bright=255):
    """A blue mark at the wrist and a red one beside it, where the thumb is."""
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    for (x, y), channel in ((wrist, 2), ((wrist[0] + (-length if left else length), wrist[1]), 0)):
        spot = np.s_[round(y) - 3 : round(y) + 4, round(x) - 3 : round(x) + 4]
        image[spot] = 0
        image[spot][..., channel] = bright
    return image


def middle(image, channel):
    """The middle (2,) of the pixels that have one colour alone."""
    colour = image.astype(int)
    others = [c for c in range(3) if c != channel]
    y, x = np.nonzero((colour[..., channel] > 150) & (colour[..., others].max(-1) < 90))
    return np.array([x.mean(), y.mean()]) + 0.5 if len(x) else None


class Marks(Detector):
    """In place of the networks: a hand lies where the marks are. Where the blue is dark its mirror image is misread."""

    def __init__(self):
        pass

    def find(self, image, palm=0.5):
        wrist, thumb = middle(image, 2), middle(image, 0)
        if wrist is None or thumb is None:
            return []
        length = thumb[0] - wrist[0]
        right, size = bool(length > 0), abs(length)
        flat = TEMPLATE * [1 if right else -1, 1]
        world = 40 * np.concatenate([flat, 0.1 * np.arange(21)[:, None]], axis=1)
        off = 0.3 if not right and image[..., 2].max() < 220 else 0.0
        return [Hand(wrist + size * (flat + off), world, 0.9, right)]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.setattr(module, "Detector", Marks)
    return tmp_path / "data"


@pytest.fixture
def folder(tmp_path):
    """Twelve photographs in two folders; one is doubtful, one shows no hand, one is no photograph."""
    for number in range(12):
        path = tmp_path / "photographs" / ("first" if number < 6 else "second") / f"IMG_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene((90 + 6 * number, 160), 30 + number)).save(path)
    Image.fromarray(scene((150, 160), 40, bright=200)).save(tmp_path / "photographs/first/IMG_20.png")
    Image.fromarray(np.full((99, 99, 3), 90, np.uint8)).save(tmp_path / "photographs/second/IMG_20.png")
    (tmp_path / "photographs/second/IMG_21.jpg").write_bytes(b"damaged")
    return tmp_path / "photographs"


def test_labels_are_where_the_hand_is(folder, root):
    made = label(folder, "mine")
    assert (len(made.source), made.looked) == (12, 15)
    assert made.left_out == {"unreadable": 1, "without a hand": 1, "too doubtful": 1}
    assert made.source.sequences == ["first", "second"] and made.source.labels["right"].all()
    assert made.source.labels["frame"].tolist() == [*range(6), *range(6)]  # IMG_2 comes before IMG_10
    samples = open_source("mine").read(np.arange(12), 96)
    uv = project(torch.tensor(samples["pose"]), torch.tensor(samples["K"])).numpy()
    for image, joints in zip(samples["image"], uv, strict=True):
        wrist, thumb = (middle(image.transpose(1, 2, 0), channel) for channel in (2, 0))
        np.testing.assert_allclose(joints[0], wrist, atol=1.5)
        np.testing.assert_allclose(joints[9] - joints[0], (thumb - wrist)[0] * TEMPLATE[9], atol=2)
    np.testing.assert_allclose(np.diff(samples["pose"][:, :, 2], axis=1), 4, rtol=1e-3)  # mm, as the world has it
    assert samples["pose"][0, 9] - samples["pose"][0, 0] == pytest.approx([*(40 * TEMPLATE[9]), 36], abs=1.5)


def test_a_doubtful_label_is_kept_where_it_is_asked_for_and_shown(folder, root):
    result = CliRunner().invoke(app, ["label", str(folder), "--name", "mine", "--doubt", "0.5"])
    assert result.exit_code == 0 and "13 hands of 15 pictures" in result.output
    assert "1 should be checked" in result.output and (root / "mine/doubtful.png").stat().st_size > 1000
    labels = open_source("mine").labels
    assert np.argmax(labels["doubt"]) == 6
    # Both readings count: the second was 0.3 lengths off, to the side and down, and the mean half of that.
    assert labels["doubt"][6] == pytest.approx(np.hypot(0.3, 0.3) / np.ptp(TEMPLATE, axis=0).max(), rel=0.1)


def test_a_video_is_read_at_a_rate(tmp_path, root):
    with av.open(str(tmp_path / "hand.mp4"), "w") as video:
        stream = video.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = WIDTH, HEIGHT, "yuv420p", 4_000_000
        for number in range(30):
            image = scene((80 + 4 * number, 160), 40, left=number < 0)
            for packet in stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")):
                video.mux(packet)
        for packet in stream.encode():
            video.mux(packet)
    made = label(tmp_path / "hand.mp4", "film", rate=5)
    assert made.source.labels["frame"].tolist() == list(range(0, 30, 2)) and made.looked == 15
    assert made.source.sequences == ["hand"]
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "hand.mp4").read_bytes()[:200])
    with pytest.raises(UserError, match="0 usable hands, but a data set needs 10; of 1 pictures: 1 unreadable"):
        label(tmp_path / "cut.mp4", "broken")
    assert [path.name for path in root.iterdir()] == ["film"]


def test_what_was_labelled_is_data_like_any_other(folder, root, tmp_path, monkeypatch):
    label(folder, "mine")
    monkeypatch.setenv("DVAE_DATA", "mine")
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / "runs"))
    assert settings.data() == "mine"
    run = load_or_train("cross-modal", steps=2)
    assert run.trained and run.experiment.data == ("mine",) and Run.open(run.folder).experiment == run.experiment
    assert run.evaluation["samples"] == len(own.split(open_source("mine"))["validation"])
    assert "mine + synth-rhd" in CliRunner().invoke(app, ["list"]).output


@pytest.mark.parametrize("count", [10, 37, 149, 150, 400, 1000])
def test_parts_of_one_s_own_data_are_blocks_apart(count):
    parts = split_of(count)
    together = np.sort(np.concatenate([parts[name] for name in ("train", "validation", "test")]))
    assert len(np.unique(together)) == len(together) <= count
    assert 0.15 * count <= len(parts["validation"]) <= 0.25 * count and len(parts["test"]) >= 0.15 * count
    assert len(parts["train"]) >= 0.4 * count and set(parts["train"]) <= set(parts["final"])
    gap = count // 40 if count < 150 else 4
    for part in ("validation", "test"):
        assert np.abs(parts["train"][:, None] - parts[part]).min() > gap
    assert len(np.unique(units(Named(count), np.arange(count)))) == -(-count // 15)


class Named(Dataset):
    """Enough of a data set to be divided."""

    def __init__(self, count):
        self.name, self.arrays, self.count = "mine", {}, count

    def __len__(self):
        return self.count

    def __getitem__(self, _):
        return np.zeros(self.count, np.int32)


def split_of(count):
    return own.split(Named(count))


def test_bad_input_is_said(folder, root, tmp_path):
    for name in ("digits", "synth-stb", "mediapipe", "../mine", "", "a b"):
        with pytest.raises(UserError, match="cannot be called"):
            label(folder, name)
    with pytest.raises(UserError, match="does not exist"):
        label(tmp_path / "nowhere", "mine")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no photographs or videos"):
        label(tmp_path / "empty", "mine")
    label(folder, "mine")
    with pytest.raises(UserError, match="already exists"):
        label(folder, "mine")
    with pytest.raises(UserError, match="make it with `dvae label`"):
        open_source("theirs")
    own.photograph(root / "mine", 3).unlink()
    with pytest.raises(UserError, match="000003.jpg is missing"):
        open_source("mine")
    (root / "mine" / settings.LABELS).write_bytes(b"damaged")
    with pytest.raises(UserError, match="hands.npz is missing or damaged"):
        open_source("mine")
