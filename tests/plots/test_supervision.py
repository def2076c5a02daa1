"""Fig. 9: the curves are the means of what is given, and an improvement is in per cent of the labelled only."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

from dvae_lib.experiments import LABELLED
from dvae_lib.metrics.intervals import ratio_ci
from dvae_lib.plots.supervision import lower, semi_weak

PAPER = {"semi": 3.5, "weak": 7.5}
FACTORS = {"labelled": 1.0, "semi": 0.96, "weak": 0.9, "both": 0.88}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def measured(seeds=3, units=20):
    """Errors around 30 mm that fall with the labels, the semi-supervised 4 % lower and the weakly supervised 10 %."""
    generator = torch.Generator().manual_seed(0)
    base = {m: (30 - 0.1 * m) * (0.5 + torch.rand(seeds, units, generator=generator)) for m in LABELLED}
    return {kind: {m: values * factor for m, values in base.items()} for kind, factor in FACTORS.items()}


def curves(ax):
    return [line for line in ax.lines if line.get_marker() not in ("None", None)]


def test_the_curves_are_the_means_and_all_labels_stand_at_100():
    errors, full = measured(), 15 + torch.rand(3, 20)
    left, right = semi_weak(errors, full, PAPER).axes
    *lines, of_all = curves(left)
    for line, kind in zip(lines, FACTORS, strict=True):
        expected = [errors[kind][m].mean().item() for m in LABELLED]
        assert list(line.get_ydata()) == pytest.approx(expected, rel=1e-5)
        assert list(line.get_xdata()) == pytest.approx(LABELLED, rel=0.1)
    assert of_all.get_xdata() == [100] and of_all.get_ydata() == pytest.approx([full.mean().item()])
    assert [np.mean(line.get_ydata()) for line in curves(right)] == [pytest.approx(v) for v in (4, 10, 12)]
    assert [line.get_ydata()[0] for line in right.lines if line.get_linestyle() == "--"] == [3.5, 7.5]
    assert len({line.get_color() for line in lines}) == 4


def test_bars_are_the_intervals_over_seeds_and_units():
    generator = torch.Generator().manual_seed(1)
    labelled, weak = (30 + torch.rand(3, 20, generator=generator) for _ in range(2))
    _, right = semi_weak({"labelled": {5: labelled}, "weak": {5: weak}}, None, PAPER).axes
    (bars,) = right.collections
    _, low, high = lower(ratio_ci(weak, labelled))
    assert bars.get_segments()[0][:, 1] == pytest.approx([low, high])


def test_what_is_not_trained_is_left_out_and_one_seed_has_no_interval():
    left, right = semi_weak({"labelled": {5: torch.full((1, 4), 20.0)}, "weak": {10: torch.ones(2, 4)}}, None, {}).axes
    assert [(line.get_label(), list(line.get_ydata())) for line in curves(left)] == [
        ("labelled only", [20.0]),
        ("weak: plus images with viewpoints", [1.0]),
    ]
    assert [len(bar) for bars in left.collections for bar in bars.get_segments()] == [0, 2]
    assert curves(right) == []
    one_seed = {"labelled": {5: torch.ones(1, 4)}, "weak": {5: torch.ones(1, 4)}}
    assert curves(semi_weak(one_seed, None, {}).axes[1]) == []


def test_lower_turns_a_ratio_into_per_cent():
    assert lower((0.9, 0.8, 1.1)) == pytest.approx((10, -10, 20))


def test_the_legend_says_what_each_kind_is():
    texts = [text.get_text() for text in semi_weak(measured(), torch.rand(3, 20), PAPER).legends[0].get_texts()]
    names = [text.split(":")[0] for text in texts]
    assert names == ["labelled only", "semi", "weak", "both", "all labels", "paper, semi", "paper, weak"]
