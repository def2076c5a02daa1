"""The figure of chapter 09: which dimension of a latent encodes which factor."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from dvae_lib.metrics.disentanglement import DCI
from dvae_lib.plots.hands import MUTED, OURS, TRUTH


def importances(scores: Mapping[str, DCI], factors: Sequence[str], ends: Mapping[str, int]) -> Figure:
    """A row for each latent: the importance of its dimensions for the first factor upwards, for the second downwards.

    factors: the names of the two. ends: for latents with two parts, where the first ends, marked by a line.
    """
    size = (7.5, 1.0 + 1.05 * len(scores))
    figure, axes = plt.subplots(
        len(scores), sharex=True, sharey=True, squeeze=False, figsize=size, layout="constrained"
    )
    for ax, (name, dci) in zip(axes[:, 0], scores.items(), strict=True):
        dimensions = np.arange(len(dci.importance))
        for values, sign, colour, factor in zip(dci.importance.T, (1, -1), (OURS, TRUTH), factors, strict=True):
            ax.bar(dimensions, sign * values, color=colour, width=0.85, label=f"for the {factor}")
        ax.axhline(0, color=MUTED, linewidth=0.8)
        if name in ends:
            ax.axvline(ends[name] - 0.5, color=MUTED, linestyle="--", linewidth=1.2)
        ax.set_title(name, loc="left", fontsize=9)
        ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):.1f}")
    axes[-1, 0].set_xlabel("dimension of z")
    figure.supylabel("importance", fontsize=9)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=2, fontsize=9)
    return figure
