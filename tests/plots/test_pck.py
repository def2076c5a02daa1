"""The PCK figure: what is drawn is what is known, and nothing else."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dvae_lib.metrics import THRESHOLDS, auc
from dvae_lib.plots.pck import pck_curves
from dvae_lib.report.published import find


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def curve(scale):
    return THRESHOLDS, 1 - np.exp(-((THRESHOLDS / scale) ** 2))


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_ours_are_solid_and_theirs_are_dashed_with_their_own_points():
    records = find("rhd")
    ours = {"A": curve(15), "B": curve(20)}
    figure = pck_curves(ours, records)
    a, b, *theirs = figure.axes[0].lines
    assert a.get_linestyle() == b.get_linestyle() == "-" and a.get_color() != b.get_color()
    np.testing.assert_array_equal(a.get_ydata(), ours["A"][1])
    drawn = {line.get_label().split(":")[0]: line for line in theirs}
    known = {record.label: record for record in records if record.quantity == "pck"}
    assert drawn.keys() == known.keys() and len(known) == 4
    for name, line in drawn.items():
        assert line.get_linestyle() == "--"
        np.testing.assert_array_equal(line.get_xdata(orig=False), known[name].thresholds_mm)
        np.testing.assert_array_equal(line.get_ydata(orig=False), known[name].value)
    assert len({line.get_color() for line in (a, b, *theirs)}) == 6


def test_the_legend_has_the_areas_and_no_line_where_there_is_no_curve():
    figure = pck_curves({"A": curve(15)}, find("stb"))
    texts = legend(figure)
    shares = curve(15)[1][8:]
    area = np.sum((shares[1:] + shares[:-1]) / 2) / 11  # equal steps
    assert texts[0] == f"A: AUC {area:.3f}".replace("0.", ".") and area == pytest.approx(auc(*curve(15), 20, 50))
    assert "Zimmermann & Brox, 2017: AUC .948 or .986" in texts
    assert texts[texts.index("AUC only:") + 1 :] == [
        "Aligning latent spaces, 2019: AUC .996", "Cai et al., 2018: AUC .994", "dVAE, 2019: AUC .991",
    ]  # fmt: skip
    assert not any("dVAE, 2019" in line.get_label() for line in figure.axes[0].lines)
    assert "EPE" not in " ".join(texts) and len(texts) == 1 + 7 + 1 + 3


def test_of_seeds_the_mean_is_drawn_with_their_range():
    (thresholds, low), (_, high) = curve(20), curve(15)
    figure = pck_curves({"A": (thresholds, [low, high])})
    (line,), (band,) = figure.axes[0].lines, figure.axes[0].collections
    np.testing.assert_allclose(line.get_ydata(), (low + high) / 2)
    corners = band.get_paths()[0].vertices
    for t, a, b in zip(thresholds, low, high, strict=True):
        at = corners[np.isclose(corners[:, 0], t), 1]
        assert at.min() == pytest.approx(a) and at.max() == pytest.approx(b)
    areas = [auc(thresholds, shares, 20, 50) for shares in (low, high)]
    spread = abs(areas[1] - areas[0]) / 2**0.5
    assert legend(figure) == [f"A: AUC {np.mean(areas):.3f} ± {spread:.3f}".replace("0.", ".")]


def test_everything_is_inside_the_page_and_every_point_inside_the_axes():
    figure = pck_curves({"A": curve(9)}, find("stb"))
    figure.canvas.draw()
    assert figure.get_figwidth() == 7.5
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= figure.axes[0].get_window_extent().x1 and figure.bbox.contains(box.x1 - 1, box.y0 + 1)
    lowest = min(min(record.value) for record in find("stb", "pck"))
    low, high = figure.axes[0].get_ylim()
    assert low < lowest and high > 1 and figure.axes[0].get_xlim() == (20, 50)


def test_ours_alone_and_nothing_at_all():
    assert legend(pck_curves({"A": ([0, 20, 50], [0.0, 1.0, 1.0])})) == ["A: AUC 1.000"]
    assert len(pck_curves({}, find("rhd", "auc")).axes[0].lines) == 0
