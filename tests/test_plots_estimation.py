"""The figures of chapter 06 show the samples that they say, and comparisons are of the same samples."""

import math

import matplotlib.pyplot as plt
import pytest
import torch

from dvae_lib.metrics import interval
from dvae_lib.modalities import modality
from dvae_lib.models import DVAE
from dvae_lib.plots import estimation, hands
from dvae_lib.plots.estimation import comparable, factor_walks, no_run, quintets, together, verdict
from dvae_lib.plots.synthesis import INPUT


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def shown(monkeypatch):
    """What skeletons were drawn: a list of (axes, pose, colour)."""
    calls = []

    def show_pose(ax, pose, colour=None, reach=2.3):
        calls.append((ax, pose, colour))
        hands.show_pose(ax, pose, colour, reach)

    monkeypatch.setattr(estimation, "show_pose", show_pose)
    return calls


def test_frames_of_a_video_are_drawn_together_where_there_are_enough():
    assert [together("stb", n) for n in (1, 49, 50, 1500)] == [1, 1, 25, 25]
    assert together("synth-stb", 1500) == 25 and together("synth-rhd", 1500) == together("rhd", 2728) == 1


def test_a_sample_that_one_method_has_no_error_for_is_left_out_of_all():
    a, b = torch.arange(8.0), torch.arange(8.0) + 10
    b[2] = math.nan
    found = comparable({"a": a, "b": b}, each=3)
    assert found["a"].tolist() == [0, 1, 3, 4, 5, 6] and torch.equal(found["b"] - found["a"], torch.full((6,), 10.0))
    assert interval(found["b"] - found["a"], 3) == (10, 10, 10)
    assert comparable({"a": torch.tensor([math.inf, 1.0])})["a"][0] == math.inf  # a diverged model is not excused


@pytest.mark.parametrize(
    "found, holds, sure",
    [((1.0, 0.9, 1.1), True, True), ((1.0, 0.9, 1.2), True, False), ((1.2, 1.0, 1.3), False, False),
     ((1.2, 1.15, 1.3), False, True), ((math.nan,) * 3, False, False)],
)  # fmt: skip
def test_a_verdict_says_what_the_numbers_say(found, holds, sure):
    said = verdict(found, 1.1)
    assert said.startswith("It holds" if holds else "It does not hold") and ("but" in said) == (not sure)


@pytest.mark.parametrize("sets", [1, 2])
def test_quintets_put_truth_and_ours_side_by_side(shown, sets):
    n, names = 3, ("cpose", "cpose read", "pose", "pose read")
    samples = {
        f"data {k}": {"image": torch.zeros(n, 3, 8, 8), "error": torch.full((n,), 7.0)}
        | {name: torch.randn(n, 21, 3) for name in names}
        for k in range(sets)
    }
    figure = quintets(samples, ["10 %", "50 %", "90 %"])
    assert figure.get_figwidth() <= 7.5
    assert len(shown) == 4 * n * sets
    expected = [(p[name][i], name) for p in samples.values() for i in range(n) for name in names]
    for (_, pose, colour), (truth, name) in zip(shown, expected, strict=True):
        assert torch.equal(pose, truth) and colour == (hands.OURS if "read" in name else hands.TRUTH)


def test_a_walk_goes_in_two_legs_between_its_inputs(shown):
    torch.manual_seed(0)
    factors = [(modality("cpose", 32), 4), (modality("viewpoint", 32), 3)]
    model = DVAE(factors, [modality("pose", 32)]).eval()
    batch = {"cpose": torch.randn(4, 21, 3), "viewpoint": torch.randn(4, 3, 3), "pose": torch.randn(4, 21, 3)}
    figure = factor_walks(model, batch, [(0, 3), (1, 2)], steps=5)
    assert figure.get_figwidth() <= 7.5 and len(shown) == 20
    inputs = [pose for _, pose, colour in shown if colour == hands.TRUTH]
    assert all(torch.equal(a, batch["pose"][i]) for a, i in zip(inputs, (0, 3, 1, 2), strict=True))
    framed = [ax for ax, _, _ in shown if ax.spines["top"].get_visible()]
    assert len(framed) == 4
    assert all(tuple(ax.spines["top"].get_edgecolor()[:3]) == plt.matplotlib.colors.to_rgb(INPUT) for ax in framed)

    with torch.inference_mode():
        q = model.encode(batch)
        decoded = [pose for _, pose, colour in shown[:10] if colour == hands.OURS]

        def decode(cpose, viewpoint):
            between = {name: torch.lerp(q[name].mean[[0]], q[name].mean[[3]], t)
                       for name, t in (("cpose", cpose), ("viewpoint", viewpoint))}  # fmt: skip
            return model.decode(model.join(between), ["pose"])["pose"][0]

        legs = [(t, 0.0) for t in (0.25, 0.5, 0.75, 1.0)] + [(1.0, t) for t in (0.2, 0.4, 0.6, 0.8)]
        for pose, leg in zip(decoded, legs, strict=True):
            torch.testing.assert_close(pose, decode(*leg), atol=1e-5, rtol=1e-5)


def test_what_is_not_there_is_said():
    assert "DVAE_DATA=rhd" in no_run("rhd").axes[0].texts[0].get_text()
