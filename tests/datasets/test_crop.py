"""The crop against the protocol's reference values, against arithmetic, and against pixels."""

import json
import math

import numpy as np
import pytest
import scipy.io
import torch

from dvae_lib import hand, settings
from dvae_lib.datasets import open_source
from dvae_lib.datasets.crop import crop, crop_matrix, crop_nearest, crop_window, place
from dvae_lib.synthetic.scenes import crop_camera

ALL = torch.ones(1, 21, dtype=torch.bool)
STB_K = torch.tensor([[822.79041, 0, 318.47345], [0, 822.79041, 250.31296], [0, 0, 1]], dtype=torch.float64)
STB_FILE = settings.data_root() / "stb/labels/B1Counting_BB.mat"
RHD_FILE = settings.data_root() / "rhd-samples/samples.json"

# The protocol's reference values. STB: frame 0 of B1Counting, left camera. RHD: two samples, uv cut to integers,
# joint 0 the palm. Of the joints, those that decide the window: the middle MCP and the farthest from it.
REFERENCE = {
    "stb": {
        "size": (640, 480),
        "centre": (452.473, 277.702),
        "farthest": (12, (426.575, 175.824)),
        "zoom": 1.25641,
    },
    "00111": {"size": (320, 320), "centre": (215, 131), "farthest": (4, (220, 82)), "zoom": 2.61224},
    "01111": {"size": (320, 320), "centre": (205, 146), "farthest": (4, (202, 191)), "zoom": 2.84444},
}


def stb_joints(name):
    pose = torch.from_numpy(scipy.io.loadmat(STB_FILE)["handPara"][:, :, 0].T.copy())[hand.ORDERS["stb"]]
    uv = hand.project(pose, STB_K)
    uv[0] = uv[13] + 2 * (uv[0] - uv[13])  # the protocol's wrist: the ring MCP mirrored at the palm centre
    torch.testing.assert_close(uv[0], torch.tensor([477.24, 368.75], dtype=torch.float64), atol=0.01, rtol=0)
    return uv


def rhd_joints(name):
    (sample,) = [s for s in json.loads(RHD_FILE.read_text()) if s["file"] == f"{name}.png"]
    uv = torch.tensor(sample["uv_vis"], dtype=torch.float64)[hand.ORDERS["rhd"], :2]
    return hand.with_root(uv).trunc()


def deciding_joints(name):
    """The reference's own numbers for the joints that decide; all others lie between."""
    reference = REFERENCE[name]
    uv = torch.tensor(reference["centre"], dtype=torch.float64).repeat(21, 1)
    joint, place = reference["farthest"]
    uv[joint] = torch.tensor(place, dtype=torch.float64)
    return uv


CASES = [(name, deciding_joints) for name in REFERENCE]
CASES += [pytest.param("stb", stb_joints, marks=pytest.mark.real_data("stb"))]
CASES += [pytest.param(name, rhd_joints, marks=pytest.mark.real_data("rhd-samples")) for name in ("00111", "01111")]


@pytest.mark.parametrize("name, joints", CASES)
def test_window_is_the_protocols(name, joints):
    reference = REFERENCE[name]
    centre, side = crop_window(joints(name)[None], ALL, reference["size"])
    torch.testing.assert_close(centre[0], torch.tensor(reference["centre"]).double(), atol=1e-3, rtol=0)
    assert 256 / side.item() == pytest.approx(reference["zoom"], abs=1e-5)


def spread(centre, reach):
    """Joints (1, 21, 2) at `centre`, but for the little tip, `reach` pixels to its right."""
    uv = torch.tensor(centre, dtype=torch.float64).repeat(1, 21, 1)
    uv[0, 20, 0] += reach
    return uv


@pytest.mark.parametrize("reach, side", [(60, 120), (10, 50), (5, 50), (200, 256)])
def test_window_is_twice_the_reach_but_no_less_than_50_and_no_more_than_256(reach, side):
    centre, found = crop_window(spread([300.0, 200.0], reach), ALL, (640, 480))
    assert centre.tolist() == [[300.0, 200.0]]
    assert found.tolist() == [side]


def test_only_visible_joints_widen_the_window_and_only_up_to_the_border():
    uv = spread([600.0, 200.0], 90)
    assert crop_window(uv, ALL, (640, 480))[1].tolist() == [80]  # the image ends 40 pixels to the right
    hidden = ALL.clone()
    hidden[0, 20] = False
    assert crop_window(uv, hidden, (640, 480))[1].tolist() == [50]
    assert crop_window(uv, ~ALL, (640, 480))[1].tolist() == [200]  # the protocol's own choice


def random_windows(n, generator):
    centre = 60 + 140 * torch.rand(n, 2, generator=generator, dtype=torch.float64)
    return centre, 40 + 160 * torch.rand(n, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", [64, 128])
def test_joints_project_through_the_crops_camera_to_where_the_crop_put_them(size):
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(8, 21, 3, generator=generator, dtype=torch.float64) * 60 + torch.tensor([10.0, -20.0, 600.0])
    centre, side = random_windows(8, generator)
    uv, K = hand.project(pose, STB_K), crop_matrix(centre, side, size) @ STB_K
    moved = (uv - centre[:, None]) * (size / side)[:, None, None] + size / 2  # the protocol's formula
    assert (hand.project(pose, K) - moved).abs().max() < 1e-9
    error = hand.project(pose.float(), K.float()) - moved  # as stored
    assert error.abs().max() < 0.1


def blob(place, shape):
    """A round spot (H, W), brightest at `place` (column, row), wide enough to survive shrinking."""
    v, u = torch.meshgrid(torch.arange(shape[0]) + 0.5, torch.arange(shape[1]) + 0.5, indexing="ij")
    return 200 * torch.exp(-((u - place[0]) ** 2 + (v - place[1]) ** 2) / (2 * 4.0**2))


def centroid(image):
    v, u = torch.meshgrid(*(torch.arange(n) + 0.5 for n in image.shape), indexing="ij")
    return torch.stack([(u * image).sum(), (v * image).sum()]) / image.sum()


@pytest.mark.parametrize("size", [32, 64, 200])
def test_a_drawn_dot_lands_where_the_matrix_says(size):
    generator = torch.Generator().manual_seed(1)
    centre, side = random_windows(6, generator)
    places = centre + (torch.rand(6, 2, generator=generator, dtype=torch.float64) - 0.5) * (side / 3)[:, None]
    images = torch.stack([blob(point, (240, 260)) for point in places])[:, None]
    A = crop_matrix(centre, side, size)
    for cut, point, matrix in zip(crop(images, centre, side, size, fill=0.0), places, A, strict=True):
        expected = (matrix @ torch.tensor([*point, 1.0], dtype=torch.float64))[:2]
        torch.testing.assert_close(centroid(cut[0]).double(), expected, atol=0.15 * size / 64, rtol=0)


def test_shrinking_by_a_whole_number_is_the_mean_of_the_pixels():
    image = torch.randint(0, 256, (1, 3, 96, 96), generator=torch.Generator().manual_seed(2)).float()
    cut = crop(image, torch.tensor([[48.0, 48.0]]), torch.tensor([96.0]), 32)
    expected = image.reshape(1, 3, 32, 3, 32, 3).mean(dim=(3, 5))
    torch.testing.assert_close(cut, expected, atol=1e-3, rtol=0)


def test_the_whole_image_at_its_own_size_is_the_image_and_around_it_is_grey():
    image = torch.randint(0, 256, (1, 3, 64, 64), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    centre = torch.tensor([[32.0, 32.0]])
    assert torch.equal(crop(image, centre, torch.tensor([64.0]), 64), image)
    around = crop(image, centre, torch.tensor([128.0]), 128)
    assert torch.equal(around[:, :, 32:96, 32:96], image)
    around[:, :, 32:96, 32:96] = 128
    assert (around == 128).all()


@pytest.mark.parametrize("size", [16, 40, 100])
def test_the_nearest_pixel_is_the_one_in_which_the_crops_pixel_centre_lies(size):
    """Every value is a place: one by one against the matrix, at windows that reach beyond the image."""
    generator = torch.Generator().manual_seed(4)
    images = torch.arange(2 * 48 * 64, dtype=torch.int32).reshape(2, 48, 64)
    centre = torch.tensor([[5.0, 7.0], [60.0, 30.0]], dtype=torch.float64) + torch.rand(2, 2, generator=generator)
    side = torch.tensor([31.7, 52.3], dtype=torch.float64)
    found = crop_nearest(images, centre, side, size, fill=9999)
    assert found.dtype == torch.int32 and found.shape == (2, size, size)
    pixels = torch.cartesian_prod(torch.arange(size) + 0.5, torch.arange(size) + 0.5).double()  # row, column
    crop_pixels = torch.stack([pixels[:, 1], pixels[:, 0], torch.ones(len(pixels))])
    back = torch.linalg.inv(crop_matrix(centre, side, size)) @ crop_pixels
    values = []
    for b in range(2):
        for u, v, _ in back[b].T.tolist():
            values.append(b * 48 * 64 + int(v) * 64 + int(u) if 0 <= u < 64 and 0 <= v < 48 else 9999)
    assert found.int().flatten().tolist() == values
    assert size < values.count(9999) < 1.5 * size * size  # of 2 · size · size


def test_image_and_labels_are_cut_alike():
    """Where an image is flat, its crop and the crop of its part ids agree."""
    generator = torch.Generator().manual_seed(5)
    ids = torch.randint(0, 34, (3, 12, 12), generator=generator, dtype=torch.uint8)
    ids = ids.repeat_interleave(20, dim=1).repeat_interleave(20, dim=2)
    centre, side = random_windows(3, generator)
    cut, nearest = crop(ids[:, None], centre, side, 128)[:, 0], crop_nearest(ids, centre, side, 128, fill=128)
    assert (cut == nearest).float().mean() > 0.8  # all but the seams


def test_the_place_of_a_crop_is_where_it_lies_in_the_camera_whatever_its_size():
    K = torch.tensor([[800.0, 0, 320], [0, 800, 240], [0, 0, 1]]).expand(3, 3, 3)
    centre = torch.tensor([[320.0, 240.0], [400.0, 240.0], [320.0, 200.0]])
    side = torch.tensor([200.0, 200.0, 100.0])
    small, large = (place(crop_matrix(centre, side, size) @ K, size) for size in (32, 256))
    torch.testing.assert_close(small, large, rtol=1e-4, atol=1e-4)
    # Apart by the tangents 80 / 800 and −40 / 800, and by a magnification of two.
    assert (small[1] - small[0]).tolist() == pytest.approx([0.1 / 0.030, 0, 0], abs=1e-3)
    assert (small[2] - small[0]).tolist() == pytest.approx([0, -0.05 / 0.022, math.log(2) / 0.044], abs=1e-3)


def test_the_places_of_rendered_hands_are_standardised():
    source = open_source("synth-stb", frames_per_sequence=20)
    K = torch.from_numpy(crop_camera(source.scene(np.arange(240)), 64)).float()
    assert place(K, 64).mean(0).abs().max() < 0.5
    assert place(K, 64).std(0).tolist() == pytest.approx([1, 1, 1], abs=0.35)


def test_places_are_standardised_by_the_data_set():
    K = torch.tensor([[[100.0, 0, 30], [0, 100.0, 40], [0, 0, 1]]])
    right, down, magnification = 0.02, -0.08, math.log(100 / 64)
    stb, digits = place(K, 64)[0], place(K, 64, "digits")[0]
    assert stb.tolist() == pytest.approx([(right - 0.11) / 0.03, (down + 0.02) / 0.022, (magnification - 1.32) / 0.044])
    assert digits.tolist() == pytest.approx(
        [(right - 0.003) / 0.0072, (down - 0.003) / 0.0064, (magnification - 2.53) / 0.1], rel=1e-5
    )
