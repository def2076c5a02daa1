"""The figures of chapter 06 show the samples that they say, and its table what was tried and chosen."""

import matplotlib.pyplot as plt
import pytest
import torch

from dvae_lib.experiments import search
from dvae_lib.models import DVAE
from dvae_lib.models.modalities import modality
from dvae_lib.plots import estimation, hands
from dvae_lib.plots.estimation import factor_walks, no_run, quintets, search_table
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
        q = model.encode_factors(batch)
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


@pytest.fixture
def tried(monkeypatch):
    """What was tried, by the name of the search; the least is at the second rate and the first β."""
    monkeypatch.setenv("DVAE_DATA", "synthetic")
    known = {one.name: one for one in search.SEARCHES}
    errors = {
        "dvae-pose": {(lr, beta): 100 + 10 * i for i, (lr, beta) in enumerate(known["dvae-pose"].missing({}))},
        "resnet": dict(zip(known["resnet"].missing({}), (9.0, 8.0, 9.5), strict=True)),
        "weak-10": {("natural", ()): 7.0},
    }
    errors["dvae-pose"][2e-3, 2e-3] = 12.04
    monkeypatch.setattr(search, "found", dict)
    monkeypatch.setattr(search, "errors", lambda one, _: errors.get(one.name, {}))
    return errors


def test_of_a_search_each_trial_is_there_and_the_chosen_one_is_bold(tried):
    lines = search_table("tab-search").data.splitlines()
    assert lines[1] == ":name: tab-search"
    assert lines[2] == "|  | error | β, or rotation | rate 0.0005 | rate 0.001 | rate 0.002 | rate 0.004 |"
    assert lines[4:8] == [
        "| dvae-pose | 3DPose, mm | 0.0005 |  | 100 | 130 | 160 |",
        "|  |  | 0.002 |  | 110 | **12.0** | 170 |",
        "|  |  | 0.008 |  | 120 | 150 | 180 |",
        "| resnet | 3DPose, mm |  | 9.00 | **8.00** | 9.50 |  |",
    ]
    assert len(lines) == 9  # what has no rate is elsewhere


def test_nothing_is_chosen_before_the_search_is_done(tried):
    tried["resnet"].popitem()
    assert "| resnet | 3DPose, mm |  | 9.00 | 8.00 |  |  |" in search_table("tab-search").data
    for errors in tried.values():
        errors.clear()
    assert search_table("tab-search").data.splitlines()[4] == "| no trial yet: `dvae study` |  |  |"
