"""The figures of chapter 08: how many dimensions are usable with a β, and the grid of β and d (supplement, Fig. 1)."""

from collections.abc import Mapping
from math import nan

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib.metrics.intervals import Interval, Matrix, contrast_ci
from dvae_lib.plots.hands import MUTED


def water_level(spectra: Mapping[str, Tensor], papers: Mapping[str, float], d: int = 64) -> Figure:
    """The number of principal variances above β against β, for each spectrum (n,); dots: the paper's β; line: d."""
    figure, ax = plt.subplots(figsize=(7.5, 3.2), layout="constrained")
    for name, variances in spectra.items():
        levels = torch.logspace(-4, 3, 300, dtype=variances.dtype)
        (line,) = ax.plot(levels, (variances > levels[:, None]).sum(1), label=name)
        k = int((variances > papers[name]).sum())
        ax.plot(papers[name], k, "o", color=line.get_color())
        ax.annotate(f"paper's β: {k}", (papers[name], k), xytext=(6, 6), textcoords="offset points", fontsize=9)
    ax.axhline(d, color=MUTED, linestyle="--", linewidth=1, label=f"d = {d}")
    ax.set(xscale="log", yscale="log", ylim=(0.8, None), xlabel="β", ylabel="usable dimensions")
    ax.yaxis.set_major_formatter("{x:g}")
    ax.legend(fontsize=9)
    return figure


def beta_d(values: Mapping[tuple[float, int], Mapping[str, Matrix]]) -> Figure:
    """The supplement's Fig. 1: the image's reconstruction error (left) and the KL divergence (right) for each β and d.

    values: by (β, d), the “reconstruction” error (seeds, units) and the “KL” in nats; points without a trained model
    are omitted. Bars are 95 % intervals over seeds and units; a point with one seed has none.
    """
    figure, axes = plt.subplots(1, 2, figsize=(7.5, 3.2), layout="constrained")
    betas, dimensions = (sorted(set(axis)) for axis in zip(*values, strict=True))
    titles = {"reconstruction": "RMSE of the image", "KL": "KL divergence (nats)"}
    for ax, (name, title) in zip(axes, titles.items(), strict=True):
        for place, (d, marker) in enumerate(zip(dimensions, "os^Dv", strict=False)):
            own = {b: _mean(values[b, d][name]) for b in betas if (b, d) in values}
            means, lows, highs = zip(*own.values(), strict=True)
            x = [b * 1.06 ** (place - len(dimensions) // 2) for b in own]  # side by side
            (line,) = ax.plot(x, means, marker=marker, markersize=5, label=f"d = {d}")
            ax.vlines(x, lows, highs, color=line.get_color())
        ax.set(xscale="log", xlabel="β", ylabel=title)
        ax.set_xticks(betas, [f"{b:g}" for b in betas])
        ax.minorticks_off()
    axes[1].set_yscale("log")
    figure.legend(handles=axes[0].lines, loc="outside upper center", ncols=len(dimensions), fontsize=9)
    return figure


def _mean(values: Matrix) -> Interval:
    return contrast_ci([(1.0, values)], log=False) if len(values) > 1 else (values.mean().item(), nan, nan)
