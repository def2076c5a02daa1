"""Fig. 9: the curves are the means of what is given, and an improvement is in per cent of the labelled only."""

import matplotlib.pyplot as plt
import pytest
import torch

from dvae_lib.plots.supervision import semi_weak

PERCENT = (5, 10, 25, 50)
PAPER = {"semi": 3.5, "weak": 7.5}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def measured(n=60):
    """Errors around 30 mm that fall with the labels, the semi-supervised 4 % lower and the weakly supervised 10 %."""
    generator = torch.Generator().manual_seed(0)
    base = {m: (30 - 0.1 * m) * (0.5 + torch.rand(n, generator=generator)) for m in PERCENT}
    factors = {"labelled": 1.0, "semi": 0.96, "weak": 0.9}
    return {kind: {m: values * factor for m, values in base.items()} for kind, factor in factors.items()}


def test_the_curves_are_the_means_and_end_in_full_supervision():
    errors, full = measured(), 15 + torch.rand(60)
    figure = semi_weak(errors, full, PAPER)
    left, right = figure.axes
    for line, kind in zip(left.lines, ("labelled", "semi", "weak"), strict=True):
        expected = [errors[kind][m].mean().item() for m in PERCENT] + [full.mean().item()]
        assert list(line.get_ydata()) == pytest.approx(expected, rel=1e-5)
        assert list(line.get_xdata()) == pytest.approx([*PERCENT, 100], rel=0.07) and line.get_xdata()[-1] == 100
    gains = [line.get_ydata() for line in right.lines if len(line.get_ydata()) == len(PERCENT)]
    assert [pytest.approx(value) for value in (4, 10)] == [gain.mean() for gain in map(torch.tensor, gains)]
    dashed = [line.get_ydata()[0] for line in right.lines if line.get_linestyle() == "--"]
    assert dashed == [3.5, 7.5]
    assert figure.get_figwidth() == 7.5
    assert len({line.get_color() for line in left.lines}) == 3


def test_the_legend_says_what_each_kind_is():
    texts = [text.get_text() for text in semi_weak(measured(), torch.rand(60), PAPER).legends[0].get_texts()]
    assert [text.split(":")[0] for text in texts] == ["labelled only", "semi", "weak", "paper, semi", "paper, weak"]
