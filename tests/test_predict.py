"""`dvae` as a person uses it: on images good and bad."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from PIL import ExifTags, Image
from typer.testing import CliRunner

from dvae_lib.cli import app
from dvae_lib.experiments.run import load_or_train
from dvae_lib.files import UserError
from dvae_lib.hand import MIDDLE_MCP, mirror
from dvae_lib.hand.canonical import canonicalise, compose
from dvae_lib.models import DVAE, CrossModalVAE
from dvae_lib.models.modalities import modality
from dvae_lib.plots.photographs import draw_prediction
from dvae_lib.predict import Box, predict


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


def one(model, path, *args, **options):
    return predict(model, [path], *args, **options)[0]


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
    answer = one(Echo(), photograph, 32, box, right)
    torch.testing.assert_close(answer.keypoints, torch.tensor([150.0, 50.0]).expand(21, 2), atol=4.0, rtol=0)


def test_a_right_hand_is_read_in_the_mirror(photograph):
    left, right = (one(Echo(), photograph, 32, None, right) for right in (False, True))
    torch.testing.assert_close(left.pose, right.pose, atol=3.0, rtol=0)


def test_bone_sets_the_millimetres(photograph):
    poses = [one(Echo(), photograph, 32, bone=bone).pose for bone in (40.0, 80.0)]
    torch.testing.assert_close(2 * poses[0], poses[1])


def test_several_photographs_are_one_batch(photograph, tmp_path):
    Image.open(photograph).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "flipped.png")
    both = predict(Echo(), [photograph, tmp_path / "flipped.png"], 32)
    alone = [one(Echo(), path, 32) for path in (photograph, tmp_path / "flipped.png")]
    for answer, expected in zip(both, alone, strict=True):
        assert answer.path == expected.path and torch.equal(answer.keypoints, expected.keypoints)
    assert both[0].keypoints[0, 0] > 130 > 70 > both[1].keypoints[0, 0]


def test_the_spread_is_that_of_the_posterior(photograph):
    torch.manual_seed(0)
    spread = one(Echo(), photograph, 32, bone=40.0).spread
    # Two coordinates of deviation 0.1 bones each, from 64 draws.
    torch.testing.assert_close(spread, torch.full((21,), 40 * 0.1 * 2**0.5), rtol=0.2, atol=0)


@pytest.mark.parametrize("right", [False, True])
def test_the_factors_make_the_pose(photograph, right):
    torch.manual_seed(0)
    pose = torch.randn(21, 3)
    pose = pose - pose[:1]
    answer = one(Known(pose), photograph, 32, None, right, bone=50.0)
    torch.testing.assert_close(answer.pose, 50 * mirror(pose, right))
    assert torch.linalg.det(answer.viewpoint).item() == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(compose(answer.cpose, answer.viewpoint, right), answer.pose, atol=1e-2, rtol=1e-4)


def test_a_large_disagreement_of_the_decoded_poses_is_warned_of(photograph):
    pose = torch.randn(21, 3, generator=torch.Generator().manual_seed(0))
    pose = pose - pose[:1]
    model = Known(pose)
    reference = torch.linspace(1, 100, 100) / 50  # in bones
    answer = one(model, photograph, 32, bone=50.0, reference=reference)
    assert answer.disagreement_mm == pytest.approx(0, abs=1e-2)
    assert answer.disagreement_quantile == 0 and answer.warning is None
    for mm, quantile in ((60.4, 0.60), (96.4, 0.96)):
        model.means["pose"] = pose + torch.tensor([0.0, mm / 50, 0.0])
        answer = one(model, photograph, 32, bone=50.0, reference=reference)
        assert answer.disagreement_mm == pytest.approx(mm, rel=1e-4)
        assert answer.disagreement_quantile == pytest.approx(quantile)
    assert "photo.png: the two decoded poses are 96 mm apart, more than in 96 % of" in answer.warning
    # Neither the length of the bone nor the mirror changes the quantile.
    for options in ({"bone": 10.0}, {"bone": 90.0}, {"right": True}):
        other = one(model, photograph, 32, reference=reference, **options)
        assert other.disagreement_quantile == answer.disagreement_quantile
    assert one(model, photograph, 32).warning is None  # nothing to compare with
    assert one(Echo(), photograph, 32, reference=reference).warning is None  # decodes one pose only


def test_a_pose_without_keypoints_fills_its_crop(photograph):
    """As in the protocol: around the middle MCP, and as far as the hand reaches."""
    torch.manual_seed(0)
    pose = torch.randn(21, 3)
    box = Box(30.0, 40.0, 80.0)
    keypoints = one(Known(pose - pose[:1]), photograph, 32, box).keypoints
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
    assert torch.equal(one(Echo(), tmp_path / "phone.png", 32).keypoints, one(Echo(), photograph, 32).keypoints)


def test_an_oblong_image_without_a_crop_is_refused(tmp_path):
    Image.new("RGB", (640, 480)).save(tmp_path / "wide.png")
    with pytest.raises(UserError, match=r"wide\.png is 640 × 480 pixels and no crop was given.*--crop LEFT TOP SIDE"):
        one(Echo(), tmp_path / "wide.png", 32)


@pytest.mark.parametrize("box", [Box(900.0, 0.0, 100.0), Box(0.0, 0.0, 2.0), Box(-200.0, 0.0, 100.0)])
def test_a_crop_outside_the_image_is_refused(photograph, box):
    with pytest.raises(UserError, match="lies outside.*photo.png"):
        one(Echo(), photograph, 32, box)


def test_bad_files_are_named(tmp_path, photograph, monkeypatch):
    (tmp_path / "text.jpg").write_text("no image")
    (tmp_path / "cut.png").write_bytes(photograph.read_bytes()[:150])
    for name in ("text.jpg", "cut.png"):
        with pytest.raises(UserError, match=f"{name} cannot be read as an image"):
            one(Echo(), tmp_path / name, 32)
    with pytest.raises(UserError, match="nowhere.png does not exist"):
        one(Echo(), tmp_path / "nowhere.png", 32)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match="too large"):
        one(Echo(), photograph, 32)


def test_the_drawing_holds_the_photograph_and_two_views(photograph):
    figure = draw_prediction(one(Echo(), photograph, 32))
    assert len(figure.axes) == 3 and figure.axes[0].images[0].get_array().shape == (200, 200, 3)
    plt.close(figure)


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
    answers = json.loads(result.stdout)
    assert len(answers) == 2 and np.shape(answers[0]["keypoints, pixels"]) == (21, 2)
    assert 0 <= answers[0]["share of held-out images with a smaller distance"] <= 1
    assert Image.open(answers[0]["drawing"]).size[0] > 600
    assert "pose, mm from the palm, x right, y down, z away" in answers[0]


def test_drawings_of_one_name_are_refused(photograph, tmp_path):
    load_or_train("dvae-pose")
    other = tmp_path / "other" / photograph.name
    other.parent.mkdir()
    other.write_bytes(photograph.read_bytes())
    result = run("predict", photograph, other, "--out", tmp_path / "out")
    assert result.exit_code == 1 and f"{photograph} and {other} would be drawn into one file" in result.output
    assert not (tmp_path / "out").exists()


def test_a_prediction_names_its_root_joint(photograph):
    model = Echo()
    answer = predict(model, [photograph], 32, root_joint="wrist")[0].as_dict()
    assert "pose, mm from the wrist, x right, y down, z away" in answer
    assert answer["joint order"].startswith("OpenPose: wrist, then thumb")


@pytest.mark.parametrize("name", ["vae-pose", "resnet"])
def test_predict_asks_only_who_can_answer(photograph, name):
    load_or_train(name)
    result = run("predict", photograph, "--run", name)
    assert result.exit_code == 1 and f"“{name}” is no VAE that reads images" in result.output


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
