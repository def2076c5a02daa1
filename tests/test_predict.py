"""`dvae` as a person uses it: on images good and bad."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from typer.testing import CliRunner

from dvae_lib import detect
from dvae_lib.cli import app
from dvae_lib.datasets.crop import crop
from dvae_lib.detect import Detector, Hand
from dvae_lib.experiments.run import load_or_train
from dvae_lib.files import UserError
from dvae_lib.hand import MIDDLE_MCP, mirror
from dvae_lib.hand.canonical import canonicalise, compose
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.models.modalities import modality
from dvae_lib.plots.photographs import draw_predictions
from dvae_lib.predict import Box, cut, look, predict


class Echo(CrossModalVAE):
    """Not a model: it says where the brightest pixel of its crop is, in all joints of every modality."""

    def __init__(self):
        super().__init__([modality("image", 32), modality("keypoints", 32), modality("pose", 32)], d=2)

    def encode(self, name, x):
        brightest = x.mean(1).flatten(1).argmax(1)
        place = torch.stack([brightest % 32, brightest // 32], -1)
        return torch.distributions.Normal((place + 0.5) / 16 - 1, torch.full((len(x), 2), 0.1))

    def decode(self, z, names=None):
        pose = torch.nn.functional.pad(z, (0, 1))
        return {"keypoints": z[:, None].expand(-1, 21, 2), "pose": pose[:, None].expand(-1, 21, 3)}


class Known(DVAE):
    """Not a model: whatever the image, it reads one pose, and in full."""

    def __init__(self, pose):
        factors = [(modality("cpose", 32), 2), (modality("viewpoint", 32), 2)]
        super().__init__(factors, [modality("pose", 32)], embeddings=[modality("image", 32)])
        cpose, viewpoint = canonicalise(pose)
        self.means = {"pose": pose, "cpose": cpose, "viewpoint": 2 * viewpoint}

    def decode(self, z, names=None):
        return {name: mean.expand(len(z), *mean.shape) for name, mean in self.means.items()}


def one(model, path, box=None, right=None, **options):
    return predict(model, look(path, 32, box=box, right=right), **options)[0]


@pytest.fixture
def photograph(tmp_path):
    """A dark square photograph with a bright spot at column 150, row 50."""
    pixels = np.zeros((200, 200, 3), np.uint8)
    pixels[46:55, 146:155] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.mark.parametrize("box", [None, Box(100.0, 20.0, 80.0), Box(120.0, -30.0, 160.0)])
@pytest.mark.parametrize("right", [False, True])
def test_keypoints_come_back_to_the_photograph(photograph, box, right):
    answer = one(Echo(), photograph, box, right)
    torch.testing.assert_close(answer.keypoints, torch.tensor([150.0, 50.0]).expand(21, 2), atol=4.0, rtol=0)


def test_a_right_hand_is_read_in_the_mirror(photograph):
    left, right = (one(Echo(), photograph, None, right) for right in (False, True))
    torch.testing.assert_close(left.pose, right.pose, atol=3.0, rtol=0)


def test_bone_sets_the_millimetres(photograph):
    poses = [one(Echo(), photograph, bone=bone).pose for bone in (40.0, 80.0)]
    torch.testing.assert_close(2 * poses[0], poses[1])


def test_several_photographs_are_one_batch(photograph, tmp_path):
    Image.open(photograph).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "flipped.png")
    both = predict(Echo(), [*look(photograph, 32), *look(tmp_path / "flipped.png", 32)])
    alone = [one(Echo(), path) for path in (photograph, tmp_path / "flipped.png")]
    for answer, expected in zip(both, alone, strict=True):
        assert answer.sight.path == expected.sight.path and torch.equal(answer.keypoints, expected.keypoints)
    assert both[0].keypoints[0, 0] > 130 > 70 > both[1].keypoints[0, 0]


def test_the_spread_is_that_of_the_posterior(photograph):
    torch.manual_seed(0)
    spread = one(Echo(), photograph, bone=40.0).spread
    # Two coordinates of deviation 0.1 bones each, from 64 draws.
    torch.testing.assert_close(spread, torch.full((21,), 40 * 0.1 * 2**0.5), rtol=0.2, atol=0)


@pytest.mark.parametrize("right", [False, True])
def test_the_factors_make_the_pose(photograph, right):
    torch.manual_seed(0)
    pose = torch.randn(21, 3)
    pose = pose - pose[:1]
    answer = one(Known(pose), photograph, None, right, bone=50.0)
    torch.testing.assert_close(answer.pose, 50 * mirror(pose, right))
    assert torch.linalg.det(answer.viewpoint).item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(compose(answer.cpose, answer.viewpoint, right), answer.pose, atol=1e-2, rtol=1e-4)


def test_a_large_disagreement_of_the_decoded_poses_is_warned_of(photograph):
    pose = torch.randn(21, 3, generator=torch.Generator().manual_seed(0))
    pose = pose - pose[:1]
    model = Known(pose)
    reference = torch.linspace(1, 100, 100) / 50  # in bones
    answer = one(model, photograph, bone=50.0, reference=reference)
    assert answer.disagreement_mm == pytest.approx(0, abs=1e-2)
    assert answer.disagreement_quantile == 0 and answer.warning is None
    for mm, quantile in ((60.4, 0.60), (96.4, 0.96)):
        model.means["pose"] = pose + torch.tensor([0.0, mm / 50, 0.0])
        answer = one(model, photograph, bone=50.0, reference=reference)
        assert answer.disagreement_mm == pytest.approx(mm, rel=1e-4)
        assert answer.disagreement_quantile == pytest.approx(quantile)
    assert "photo.png: the two decoded poses are 96 mm apart, more than in 96 % of" in answer.warning
    # Neither the length of the bone nor the mirror changes the quantile.
    for options in ({"bone": 10.0}, {"bone": 90.0}, {"right": True}):
        other = one(model, photograph, reference=reference, **options)
        assert other.disagreement_quantile == answer.disagreement_quantile
    assert one(model, photograph).warning is None  # nothing to compare with
    assert one(Echo(), photograph, reference=reference).warning is None  # decodes one pose only


def test_a_pose_without_keypoints_fills_its_crop(photograph):
    """As in the protocol: around the middle MCP, and as far as the hand reaches."""
    torch.manual_seed(0)
    pose = torch.randn(21, 3)
    box = Box(30.0, 40.0, 80.0)
    keypoints = one(Known(pose - pose[:1]), photograph, box).keypoints
    torch.testing.assert_close(keypoints[MIDDLE_MCP], torch.tensor([70.0, 80.0]))
    assert (keypoints - keypoints[MIDDLE_MCP]).abs().max().item() == pytest.approx(40.0, abs=1e-3)
    sides = (keypoints[4] - keypoints[8]) / (pose[4] - pose[8])[:2]
    torch.testing.assert_close(sides[0], sides[1], rtol=1e-3, atol=0)


def test_a_photograph_taken_upright_is_read_upright(photograph, tmp_path):
    """What a phone stores: the turned picture, and a word that it is turned."""
    turned = Image.open(photograph).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    turned.save(tmp_path / "phone.png", exif=exif)
    assert torch.equal(one(Echo(), tmp_path / "phone.png").keypoints, one(Echo(), photograph).keypoints)


class Finder(Detector):
    """Not a network: it finds the hands that it is told of, in the pixels of what it is shown."""

    def __init__(self, *hands):
        self.hands, self.shown = hands, []

    def find(self, photograph, palm=0.5):
        self.shown.append(photograph.shape[:2])
        return list(self.hands)


def found(left, top, side=60.0, right=False):
    """A hand whose joints lie on a ramp, the middle MCP in its middle."""
    ramp = np.linspace(-0.5, 0.5, 21)[:, None] * [1.0, 0.8]
    ramp = ramp - ramp[MIDDLE_MCP]
    return Hand(ramp * side + [left + side / 2, top + side / 2], np.zeros((21, 3)), 0.9, right)


def test_every_hand_that_is_found_is_cut_out_by_the_protocol(photograph):
    hands = [found(20, 30), found(110, 60, right=True)]
    sights = look(photograph, 32, Finder(*hands))
    assert [sight.right for sight in sights] == [False, True]
    for sight, hand in zip(sights, hands, strict=True):
        middle = np.array([sight.box.left, sight.box.top]) + sight.box.side / 2
        np.testing.assert_allclose(middle, hand.keypoints[MIDDLE_MCP])
        assert np.abs(hand.keypoints - middle).max() == pytest.approx(sight.box.side / 2)
    assert [s.right for s in look(photograph, 32, Finder(*hands), right=True)] == [True, True]
    with pytest.raises(UserError, match=r"No hand was found in .*photo\.png.*--crop LEFT TOP SIDE"):
        look(photograph, 32, Finder())


def test_in_a_crop_one_hand_is_looked_for_and_put_back(photograph):
    finder, box = Finder(found(10, 10), found(0, 0)), Box(100.0, 40.0, 80.0)
    (sight,) = look(photograph, 32, finder, box)
    assert sight.box == box and finder.shown == [(82, 82)]  # one pixel more on each side
    np.testing.assert_allclose(sight.hand.keypoints, found(10, 10).keypoints + [99, 39])
    (alone,) = look(photograph, 32, Finder(), box)  # none is seen, but the user says that there is one
    assert alone.hand is None and alone.box == box


def test_keypoints_are_read_in_the_crop_and_mirrored_for_right_hands(photograph):
    class Reader(Echo):
        def encode(self, name, x):
            self.read = name, x
            return super().encode("image", torch.zeros(len(x), 3, 32, 32))

    model = Reader()
    for right in (False, True):
        (sight,) = look(photograph, 32, Finder(found(50, 50, right=right)))
        (answer,) = predict(model, [sight], "keypoints")
        name, x = model.read
        assert name == answer.via == "keypoints" and x.abs().max().item() == pytest.approx(1, abs=1e-5)
        torch.testing.assert_close(x[0, MIDDLE_MCP], torch.zeros(2), atol=1e-5, rtol=0)
        expected = (found(0, 0, 2.0).keypoints - found(0, 0, 2.0).keypoints[MIDDLE_MCP]) * [-1 if right else 1, 1]
        direction = x[0].numpy() / np.abs(x[0].numpy()).max()
        np.testing.assert_allclose(direction, expected / np.abs(expected).max(), atol=1e-5)
        np.testing.assert_allclose(answer.keypoints, sight.hand.keypoints, rtol=1e-5)
    (unseen,) = look(photograph, 32)
    assert predict(model, [unseen, sight], "keypoints")[0].via == "image"  # there are none to read


@pytest.mark.parametrize("box", [Box(100.0, 20.0, 80.0), Box(-30.0, 120.0, 160.0), Box(10.0, 10.0, 181.0)])
def test_what_is_cut_first_is_what_is_cropped_from_the_whole(box):
    photograph = np.random.default_rng(0).integers(0, 255, (200, 220, 3)).astype(np.uint8)
    whole = torch.from_numpy(photograph).permute(2, 0, 1)[None]
    centre = torch.tensor([[box.left + box.side / 2, box.top + box.side / 2]])
    expected = crop(whole, centre, torch.tensor([box.side]), 32)[0].float() / 127.5 - 1
    torch.testing.assert_close(cut(photograph, box, 32), expected, atol=2 / 127, rtol=0)


def test_a_large_box_is_averaged_within_bounds():
    """Without being made smaller first, this would take a grid of 4096 × 4096 samples."""
    ramp = np.repeat(np.linspace(0, 255, 4096, dtype=np.uint8)[None], 4096, axis=0)
    image = cut(np.repeat(ramp[..., None], 3, axis=2), Box(0.0, 0.0, 4096.0), 16)
    expected = (torch.arange(16) + 0.5) / 16 * 2 - 1
    torch.testing.assert_close(image[0], expected.expand(16, 16), atol=0.02, rtol=0)


def test_an_oblong_image_without_a_crop_is_refused(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "wide.png")
    with pytest.raises(UserError, match=r"wide\.png is 640 × 480 pixels and no crop was given.*--crop LEFT TOP SIDE"):
        one(Echo(), tmp_path / "wide.png")


@pytest.mark.parametrize("box", [
    Box(900.0, 0.0, 100.0), Box(0.0, 0.0, 2.0), Box(-200.0, 0.0, 100.0), Box(0.0, float("nan"), 100.0),
    Box(0.0, 0.0, 20_000.0), Box(0.0, 0.0, float("inf")),
])  # fmt: skip
def test_a_crop_outside_the_image_is_refused(photograph, box):
    with pytest.raises(UserError, match="is outside.*photo.png"):
        one(Echo(), photograph, box)


def test_bad_files_are_named(tmp_path, photograph, monkeypatch):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.png").write_bytes(photograph.read_bytes()[:150])
    for name in ("text.jpg", "cut.png"):
        with pytest.raises(UserError, match=f"{name} cannot be read as an image"):
            one(Echo(), tmp_path / name)
    with pytest.raises(UserError, match="nowhere.png does not exist"):
        one(Echo(), tmp_path / "nowhere.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match="too large"):
        one(Echo(), photograph)


def test_the_drawing_holds_the_photograph_and_two_views(photograph):
    figure = draw_predictions([one(Echo(), photograph)])
    assert len(figure.axes) == 3 and figure.axes[0].images[0].get_array().shape == (200, 200, 3)
    plt.close(figure)


@pytest.fixture(autouse=True)
def without_networks(monkeypatch):
    """These photographs show a spot; whoever has the networks that find hands would find none."""
    monkeypatch.setattr(detect, "is_ready", lambda: False)


def run(*arguments):
    return CliRunner().invoke(app, list(map(str, arguments)))


def test_predict_says_when_nothing_is_trained(photograph, tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path / "none"))
    result = run("predict", photograph)
    assert result.exit_code == 1
    assert "run `dvae train dvae-pose --profile smoke --data synthetic` first" in result.output


def test_predict_writes_json_and_a_drawing(photograph, tmp_path):
    load_or_train("dvae-pose")
    result = run("predict", photograph, photograph, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(answers) == 1 and np.shape(answers[0]["keypoints, pixels"]) == (21, 2)
    assert 0 <= answers[0]["share of held-out images with a smaller distance"] <= 1
    assert Image.open(answers[0]["drawing"]).size[0] > 600
    assert "pose, mm from the palm, x right, y down, z away" in answers[0]


def test_drawings_of_one_name_are_refused(photograph, tmp_path):
    load_or_train("dvae-pose")
    other = tmp_path / "other" / photograph.name
    other.parent.mkdir()
    other.write_bytes(photograph.read_bytes())
    result = run("predict", photograph, other, "--out", tmp_path / "out")
    assert result.exit_code == 1 and f"{photograph} and {other} would be drawn into the same file" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bone", [0.0, -40.0, 4000.0, float("nan")])
def test_a_bone_that_no_hand_has_is_refused(photograph, bone):
    with pytest.raises(UserError, match="it must be from 10 to 100 mm"):
        one(Echo(), photograph, bone=bone)


def test_one_bad_file_costs_that_file_only(photograph, tmp_path):
    load_or_train("dvae-pose")
    folder, out = tmp_path / "some", tmp_path / "out"
    folder.mkdir()
    for name in ("a.png", "c.png"):
        (folder / name).write_bytes(photograph.read_bytes())
    (folder / "b.png").write_bytes(photograph.read_bytes()[:150])
    (folder / "notes.txt").write_text("not a photograph")
    result = run("predict", folder, "--out", out)
    assert result.exit_code == 1 and "b.png cannot be read" in result.stderr
    assert "1 of 3 photographs could not be processed" in result.stderr
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines] == [str(folder / "a.png"), str(folder / "c.png")]
    assert {path.name for path in out.iterdir()} == {"a-pose.png", "c-pose.png", "sheet.png"}


def test_drawings_are_drawn_again_but_nothing_else_is_overwritten(photograph, tmp_path):
    load_or_train("dvae-pose")
    out = photograph.parent
    for _ in range(2):  # the second time its own drawing lies there
        assert run("predict", photograph.parent, "--out", out).exit_code == 0
    drawing = out / "photo-pose.png"
    result = run("predict", drawing, "--out", tmp_path / "out")
    assert result.exit_code == 1 and "is a drawing of `dvae predict`" in result.output
    drawing.write_bytes(photograph.read_bytes())  # a photograph of that name
    result = run("predict", photograph, "--out", out)
    assert result.exit_code == 1 and "photo-pose.png already exists" in result.output
    assert drawing.read_bytes() == photograph.read_bytes()


def test_a_prediction_names_its_root_joint(photograph):
    model = Echo()
    answer = one(model, photograph, root_joint="wrist").as_dict()
    assert "pose, mm from the wrist, x right, y down, z away" in answer
    assert answer["joint order"].startswith("OpenPose: wrist, then thumb")


@pytest.mark.parametrize("name", ["vae-pose", "resnet"])
def test_predict_asks_only_who_can_answer(photograph, name):
    load_or_train(name)
    result = run("predict", photograph, "--run", name)
    assert result.exit_code == 1 and f"“{name}” is not a VAE with an image encoder" in result.output


def test_list_shows_what_is_trained(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_RUNS_ROOT", str(tmp_path))
    assert "not trained" in run("list").output
    result = run("train", "vae-pose")
    assert result.exit_code == 0, result.output
    line = next(line for line in run("list").output.splitlines() if line.startswith("vae-pose"))
    assert "trained" in line and "not trained" not in line


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["train"], "pass --all"),
        (["train", "typo"], "no experiment “typo”"),
        (["train", "vae-pose", "--profile", "huge"], "no profile “huge”"),
        (["list", "--data", "moon"], "no data “moon”"),
        (["train", "vae-pose", "--device", "gpu0"], "no device “gpu0”: choose one of auto, cpu, cuda, mps"),
        (["predict", "photo.png", "--run", "typo"], "no experiment “typo”"),
    ],
)
def test_wrong_words_are_answered_in_a_sentence(arguments, words):
    result = run(*arguments)
    assert result.exit_code == 1 and words in result.output and "Traceback" not in result.output
