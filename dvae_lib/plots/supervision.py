"""The benefit of labels, poses without images, and images with viewpoints, as in the paper's Fig. 9 (chapter 07)."""

from collections.abc import Mapping
from math import nan
from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dvae_lib.experiments import LABELLED
from dvae_lib.metrics.intervals import Interval, Matrix, contrast_ci, ratio_ci
from dvae_lib.plots.hands import INK, MUTED, OURS, TRUTH

BASELINE = "labelled"
_STYLES: dict[str, dict[str, Any]] = {
    BASELINE: {"label": "labelled only", "color": INK, "marker": "o", "linestyle": ":"},
    "semi": {"label": "semi: plus poses without images", "color": OURS, "marker": "s", "linestyle": "-"},
    "weak": {"label": "weak: plus images with viewpoints", "color": TRUTH, "marker": "^", "linestyle": "-"},
    "both": {"label": "both: plus both of these", "color": "#009E73", "marker": "D", "linestyle": "-"},
}
_APART = 1.05  # factor between the markers of one percentage, which are side by side on the logarithmic axis


def lower(ratio: Interval) -> Interval:
    """A ratio of errors with its interval, converted to the reduction in per cent."""
    mean, low, high = (100 * (1 - value) for value in ratio)
    return mean, high, low


def semi_weak(
    errors: Mapping[str, Mapping[int, Matrix]], full: Matrix | None, published: Mapping[str, float]
) -> Figure:
    """Left: the mean error against the percentage of labelled images, and full supervision at 100 %. Right: the
    reduction relative to labelled images only, and the largest one that the paper claims. Bars are 95 % intervals over
    seeds and units; with a single seed, the left panel shows its mean only, and the right panel nothing.

    errors: for “labelled”, “semi”, “weak” and “both”, by percentage, the errors (seeds, units) in mm; missing runs are
    omitted. full: the same with all labels. published: the reductions of “semi” and “weak” in per cent.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.8), layout="constrained")
    for i, (kind, style) in enumerate(_STYLES.items()):
        found, place = errors.get(kind, {}), i - (len(_STYLES) - 1) / 2
        _with_intervals(left, {m: _mean(x) for m, x in found.items()}, place, style)
        if kind != BASELINE:
            pairs = {m: (x, errors[BASELINE][m]) for m, x in found.items() if m in errors.get(BASELINE, {})}
            gains = {m: lower(ratio_ci(*pair)) for m, pair in pairs.items() if min(map(len, pair)) > 1}
            _with_intervals(right, gains, place - 0.5, style | {"label": "_"})
        if kind in published:
            text = f"paper, {kind}: up to {published[kind]:g} %"
            right.axhline(published[kind], color=style["color"], linestyle="--", linewidth=1, label=text)
    if full is not None:
        style = {"label": "all labels", "color": MUTED, "marker": "*", "linestyle": ""}
        _with_intervals(left, {100: _mean(full)}, 0, style)
    right.axhline(0, color=MUTED, linewidth=1)
    left.set(ylabel="mean EPE of 3DPose (mm)")
    right.set(ylabel="reduction vs. labelled only (%)")
    for ax, ticks in ((left, [*LABELLED, 100]), (right, LABELLED)):
        ax.set(xscale="log", xlabel="labelled images (%)")
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.set_xlim(ticks[0] / 1.2, ticks[-1] * 1.2)
        ax.minorticks_off()
    handles = [*left.lines, *(line for line in right.lines if line.get_linestyle() == "--")]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=9)
    return figure


def _mean(errors: Matrix) -> Interval:
    return contrast_ci([(1.0, errors)], log=False) if len(errors) > 1 else (errors.mean().item(), nan, nan)


def _with_intervals(ax: Axes, points: Mapping[int, Interval], place: float, style: Mapping[str, Any]) -> None:
    """A line through means at percentages, with their intervals; shifted sideways by `place`, 0 in the middle."""
    if not points:
        return
    x = [percent * _APART**place for percent in points]
    means, lows, highs = zip(*points.values(), strict=True)
    ax.plot(x, means, linewidth=1.6, markersize=5, **style)
    ax.vlines(x, lows, highs, color=style["color"], linewidth=1.4)
