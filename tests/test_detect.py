"""Hands found in photographs: squares against brute force, and the networks, where they are, on real hands."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dvae_lib import detect
from dvae_lib.cli import app
from dvae_lib.datasets.realhand import RealHandSource
from dvae_lib.detect import Detector, _apart, _levels, _Square
from dvae_lib.experiments.run import load_or_train
from dvae_lib.files import UserError
from dvae_lib.hand import project

NETWORKS = pytest.mark.real_data("mediapipe")


def ramp(height=120, width=160):
    """A picture whose red is the place along x, and green the one along y."""
    y, x = np.mgrid[:height, :width] + 0.5
    return np.stack([x, y, np.zeros_like(x)], axis=-1)


@pytest.mark.parametrize("square", [
    _Square(80, 60, 40), _Square(80, 60, 40, 0.7), _Square(70, 55, 80, -2.0), _Square(81.3, 58.6, 20.0, 3.0)
])  # fmt: skip
def test_a_pixel_of_a_cut_shows_the_place_that_the_square_names(square):
    size = 64
    cut = square.cut(Image.fromarray(ramp().astype(np.uint8)), size)[0] * 255
    v, u = np.mgrid[:size, :size] + 0.5
    place = square.to_photograph(np.stack([u, v], axis=-1) / size - 0.5)
    inside = ((place > 1) & (place < [159, 119])).all(-1)
    assert inside.mean() > 0.7
    assert np.abs(cut[..., :2] - place + 0.5)[inside].max() < 1.5  # uint8 cuts the half off


def test_a_turned_square_shows_what_points_its_way_upright():
    """Turned clockwise by a quarter, its up is the photograph's right."""
    place = _Square(0, 0, 2, np.pi / 2).to_photograph(np.array([[0.0, -0.5]]))
    np.testing.assert_allclose(place, [[1, 0]], atol=1e-12)


def test_a_large_square_is_averaged_and_not_sampled():
    stripes = np.zeros((400, 400, 3), np.uint8)
    stripes[:, ::2] = 200
    cut = _Square(200, 200, 400).cut(Image.fromarray(stripes), 20) * 255
    assert np.abs(cut - 100).max() < 2


def test_what_lies_outside_is_black():
    cut = _Square(0, 0, 40).cut(Image.fromarray(np.full((50, 50, 3), 255, np.uint8)), 16)[0]
    assert cut[:7].max() == cut[:, :7].max() == 0 and cut[9:, 9:].min() == 1


@pytest.mark.parametrize("width, height", [(640, 480), (3000, 500), (100, 100), (200, 900)])
def test_tiles_cover_a_photograph_down_to_a_quarter_of_its_side(width, height):
    whole, *tiled = _levels(width, height)
    assert {(square.x, square.y) for square in whole} == {(width / 2, height / 2)}
    assert bool(tiled) == (max(width, height) > 192)
    for squares in tiled:
        shown = np.zeros((height, width), bool)
        for s in squares:
            x, y = s.x - s.side / 2, s.y - s.side / 2
            shown[round(max(y, 0)) : round(y + s.side), round(max(x, 0)) : round(x + s.side)] = True
        assert shown.all() and squares[0].side >= max(width, height) / 4


def test_of_overlapping_ones_the_surest_stays():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 11, 11], [30, 0, 40, 10]], float)
    assert _apart([(0.5, boxes[0], "a"), (0.9, boxes[1], "b"), (0.7, boxes[2], "c")]) == ["b", "c"]
    assert _apart([]) == []


def test_what_is_missing_is_said_with_the_command_that_brings_it(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"palm_detection_full\.tflite is missing: run `dvae download detector`"):
        Detector(tmp_path)
    for name in (detect.PALM_NETWORK, detect.HAND_NETWORK):
        (tmp_path / name).write_bytes(b"no network")
    with pytest.raises(UserError, match=r"is not a valid network: delete it, and run `dvae download detector`"):
        Detector(tmp_path)
    monkeypatch.setattr(detect, "is_installed", lambda: False)
    with pytest.raises(UserError, match=r'`pip install "dvae-lib\[detect\]"`'):
        Detector(tmp_path)


@pytest.fixture(scope="module")
def detector():
    return Detector()


@pytest.fixture(scope="module")
def photographs():
    source = RealHandSource()
    frames = np.arange(0, len(source), 40)
    keypoints = project(*(torch.from_numpy(x[frames]) for x in (source.pose, source.K))).numpy()
    return [Image.open(source.photograph(frame)).convert("RGB") for frame in frames.tolist()], keypoints


@NETWORKS
@pytest.mark.real_data("realhand")
def test_hands_are_found_at_every_size_and_turn(detector, photographs):
    images, keypoints = photographs
    errors = []
    for image, truth in zip(images, keypoints, strict=True):
        (hand, *_) = detector.find(np.asarray(image))
        errors.append(np.linalg.norm(hand.keypoints - truth, axis=-1).mean())
        assert not hand.right and hand.presence > 0.9
    assert np.median(errors) < 10  # of 256 pixels; the labels were made otherwise
    first, reference = images[0], detector.find(np.asarray(images[0]))[0].keypoints
    for angle in (90, 180, 270):
        (turned,) = detector.find(np.asarray(first.rotate(angle)))
        back = (turned.keypoints - 128) @ detect._Square(0, 0, 1, np.radians(angle)).turn + 128
        assert np.linalg.norm(back - reference, axis=-1).mean() < 4
    for side in (64, 200, 1000):
        wall = Image.new("RGB", (1600, 1200), (90, 90, 90))
        wall.paste(first.resize((side, side)), (300, 150))
        (small,) = detector.find(np.asarray(wall))
        assert np.linalg.norm((small.keypoints - [300, 150]) * 256 / side - reference, axis=-1).mean() < 8


@NETWORKS
@pytest.mark.real_data("realhand")
def test_two_hands_are_two_and_no_hand_is_none(detector, photographs):
    image = photographs[0][0]
    both = Image.new("RGB", (512, 256))
    both.paste(image, (0, 0))
    both.paste(image.transpose(Image.Transpose.FLIP_LEFT_RIGHT), (256, 0))
    left, right = sorted(detector.find(np.asarray(both)), key=lambda hand: hand.keypoints[0, 0])
    assert not left.right and right.right and right.keypoints[:, 0].min() > 256
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3)).astype(np.uint8)
    assert detector.find(noise) == [] and detector.find(np.zeros((90, 400, 3), np.uint8)) == []


@NETWORKS
@pytest.mark.real_data("realhand")
def test_the_guessed_pose_is_that_of_the_keypoints(detector, photographs):
    """Up to a scale the world's x and y are the keypoints, and its size is a hand's."""
    for image in photographs[0][:4]:
        hand = detector.find(np.asarray(image))[0]
        flat, points = (x - x.mean(0) for x in (hand.world[:, :2], hand.keypoints))
        scale = (flat * points).sum() / (flat**2).sum()
        assert np.abs(points - scale * flat).max() < 0.12 * np.ptp(points)
        assert 60 < np.linalg.norm(hand.world[9] - hand.world[0]) < 120


@NETWORKS
@pytest.mark.real_data("realhand")
def test_predict_needs_no_crop(tmp_path):
    """As a user calls it: the hand is found, and its keypoints are read; `--crop` and `--right` have the last word."""
    load_or_train("dvae-pose")
    photograph = RealHandSource().photograph(100)
    answer = invoke("predict", photograph, "--out", tmp_path)
    assert answer["side"] == "left" and answer["read from"] == "keypoints" and answer["presence of a hand"] > 0.9
    middle = np.array(answer["crop"][:2]) + answer["crop"][2] / 2
    np.testing.assert_allclose(answer["keypoints, pixels"][9], middle, atol=1e-3)
    answer = invoke("predict", photograph, "--out", tmp_path, "--crop", 20, 20, 220, "--right", "--via", "image")
    assert answer["side"] == "right" and answer["read from"] == "image" and answer["crop"] == [20, 20, 220]


def invoke(*arguments):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    return json.loads(line)
