"""Our PCK curves and published ones, as in the paper's Fig. 7 (chapter 06)."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dvae_lib.metrics import auc
from dvae_lib.plots.hands import FINGER_COLOURS, INK, MUTED, OURS
from dvae_lib.report.published import Published

LOW, HIGH = 20, 50  # mm
Curve = Sequence[float] | np.ndarray
_COLOURS = [OURS, *(colour for colour in FINGER_COLOURS.values() if colour != OURS), "#56B4E9", INK, MUTED]
_MARKERS = "osD^vP*X"


def pck_curves(
    ours: Mapping[str, tuple[Curve, Curve | Sequence[Curve]]], published: Sequence[Published] = ()
) -> Figure:
    """PCK from 20 to 50 mm with the AUC in the legend: our curves solid, published ones dashed.

    ours: name → (thresholds (T,) in mm, shares (T,), or (S, T) for several seeds), for example of `metrics.PoseScores`.
    The AUC is computed from the points from 20 to 50 mm, as in the public evaluation code. For several seeds, the curve
    is the mean with a band from the lowest to the highest, and the legend has the mean AUC with its standard deviation.
    published: records of one data set, as returned by `published.find`. A method for which only the AUC is known has a
    legend entry without a curve; if two AUCs are published, the entry has both.
    """
    figure, ax = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
    colours, markers = itertools.cycle(_COLOURS), itertools.cycle(_MARKERS)
    handles: list[Line2D] = []
    for name, (thresholds, shares) in ours.items():
        seeds, colour = np.atleast_2d(shares), next(colours)
        areas_of_seeds = [auc(thresholds, curve, LOW, HIGH) for curve in seeds]
        label = f"{name}: AUC {_short(np.mean(areas_of_seeds))}"
        if len(seeds) > 1:
            label += f" ± {_short(np.std(areas_of_seeds, ddof=1))}"
            ax.fill_between(thresholds, seeds.min(0), seeds.max(0), color=colour, alpha=0.25, linewidth=0, zorder=2)
        handles += ax.plot(thresholds, seeds.mean(0), color=colour, linewidth=2.0, label=label, zorder=3)

    curves = {record.label: record for record in published if record.quantity == "pck"}
    areas: dict[str, list[float]] = {label: [] for label in curves}
    for record in published:
        if record.quantity == "auc":
            areas.setdefault(record.label, []).append(record.value)
    without_curve = []
    for label in sorted(areas, key=lambda label: max(areas[label], default=0), reverse=True):
        text = f"{label}: AUC {' or '.join(map(_short, areas[label]))}" if areas[label] else label
        if curve := curves.get(label):
            style = {"color": next(colours), "marker": next(markers), "linestyle": "--", "linewidth": 1.2}
            handles += ax.plot(curve.thresholds_mm, curve.value, markersize=4, label=text, **style)
        else:
            without_curve.append(Line2D([], [], linestyle="none", label=text))
    if without_curve:
        handles += [Line2D([], [], linestyle="none", label="AUC only:"), *without_curve]

    points = np.concatenate([line.get_xydata() for line in ax.lines] or [np.zeros((1, 2))])
    lowest = points[points[:, 0] >= LOW, 1].min(initial=1)
    ax.set(xlim=(LOW, HIGH), ylim=(max(0, np.ceil(10 * lowest - 1) / 10), 1.005))
    ax.set(xlabel="threshold (mm)", ylabel="3D PCK")
    ax.grid(color="#e5e5e5", linewidth=0.8)
    figure.legend(handles=handles, loc="outside right upper", fontsize=9, handlelength=2.6)
    return figure


def _short(area: float) -> str:
    return f"{area:.3f}".removeprefix("0")
