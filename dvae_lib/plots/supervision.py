"""What labels, poses without images and images with viewpoints are worth, as in the paper's Fig. 9 (chapter 07)."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib.metrics.intervals import Interval, bootstrap_ci, improvement
from dvae_lib.plots.hands import INK, MUTED, OURS, TRUTH

BASELINE = "labelled"
_STYLES = {
    BASELINE: {"label": "labelled only", "color": INK, "marker": "o", "linestyle": ":"},
    "semi": {"label": "semi: and poses without images", "color": OURS, "marker": "s", "linestyle": "-"},
    "weak": {"label": "weak: and images with viewpoints", "color": TRUTH, "marker": "^", "linestyle": "-"},
}
_APART = 1.06  # markers of one percentage stand side by side on the logarithmic axis


def semi_weak(
    errors: Mapping[str, Mapping[int, Tensor]], full: Tensor, published: Mapping[str, float], block_size: int = 1
) -> Figure:
    """Left: the mean error over the percentage of labelled images, and full supervision at 100 %. Right: by how much
    it is lower than with the labelled images only, beside the most that the paper claims.

    errors: of “labelled”, “semi” and “weak”, by percentage, each sample's error (N,) in mm; full: the same with all
    labels. published: per cent, of “semi” and “weak”. block_size: see `intervals.bootstrap_ci`.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(7.5, 3.6), layout="constrained")
    for place, (kind, style) in enumerate(_STYLES.items()):
        own = {percent: bootstrap_ci(values, block_size) for percent, values in errors[kind].items()}
        _with_intervals(left, own | {100: bootstrap_ci(full, block_size)}, place - 1, style)
        if kind != BASELINE:
            pairs = {percent: (values, errors[BASELINE][percent]) for percent, values in errors[kind].items()}
            gains = {percent: improvement(*pair, block_size) for percent, pair in pairs.items()}
            _with_intervals(right, gains, 2 * place - 3, style | {"label": "_"})
            text = f"paper, {kind}: up to {published[kind]:g} %"
            right.axhline(published[kind], color=style["color"], linestyle="--", linewidth=1, label=text)
    right.axhline(0, color=MUTED, linewidth=1)
    left.set(ylabel="mean EPE of 3DPose (mm)")
    right.set(ylabel="lower than labelled only (%)")
    for ax, ticks in ((left, [*errors[BASELINE], 100]), (right, [*errors[BASELINE]])):
        ax.set(xscale="log", xlabel="labelled images (%)")
        ax.set_xticks(ticks, [str(tick) for tick in ticks])
        ax.minorticks_off()
    handles = [*left.lines, *(line for line in right.lines if line.get_linestyle() == "--")]
    figure.legend(handles=handles, loc="outside upper center", ncols=2, fontsize=9)
    return figure


def _with_intervals(ax: Axes, points: Mapping[int, Interval], place: int, style: Mapping[str, str]) -> None:
    """A line through means at percentages, with their intervals; moved sideways by its place, −1, 0 or 1."""
    x = [percent * (_APART**place if percent < 100 else 1) for percent in points]
    means, lows, highs = zip(*points.values(), strict=True)
    ax.plot(x, means, linewidth=1.6, markersize=5, **style)
    ax.vlines(x, lows, highs, color=style["color"], linewidth=1.4)
