"""The figures and scores of chapter 11: for factors of any kind, and images of any size."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib import disentanglement as measures
from dvae_lib.plots.hands import grid, show_image
from dvae_lib.plots.synthesis import INPUT


def picture_table(rows: Mapping[str, Tensor], framed: Mapping[str, Sequence[int]] | None = None) -> Figure:
    """A row for each name of images (N, C, S, S); framed: the columns of a row whose images have a frame."""
    figure, axes = grid(len(rows), max(map(len, rows.values())), list(rows), cell=0.85)
    for line, (name, images) in zip(axes, rows.items(), strict=True):
        for column, (ax, image) in enumerate(zip(line, images, strict=False)):
            show_image(ax, image, INPUT if framed and column in framed.get(name, ()) else None)
    return figure


def learning(
    metrics: Sequence[Mapping[str, float]], numbers: Mapping[str, int], panels: Mapping[str, str], smooth: int = 5
) -> Figure:
    """The root mean square error of every modality over training, on logarithmic axes.

    metrics: the lines of metrics.jsonl. numbers: how many of them each modality has. panels: the title of each source
    of terms such as “image→colour”. A log-likelihood of unit variance is -n/2 (log 2π + mean square error).
    """
    figure, axes = plt.subplots(1, len(panels), figsize=(7.5, 3.0), sharey=True, squeeze=False, layout="constrained")
    for ax, (source, title) in zip(axes[0], panels.items(), strict=True):
        lines = [line for line in metrics if f"{source}→{next(iter(numbers))}" in line]
        steps = np.array([line["step"] for line in lines]) - lines[0]["step"]
        for name, n in numbers.items():
            likelihood = np.array([line[f"{source}→{name}"] for line in lines])
            square = np.maximum(-2 * likelihood / n - np.log(2 * np.pi), 1e-6)
            width = min(smooth, len(square))
            mean = np.convolve(square, np.ones(width) / width, "valid")
            ax.plot(steps[width - 1 :], np.sqrt(mean), label=name)
        ax.set_title(title, fontsize=11)
        ax.set(xlabel="step", yscale="log")
    axes[0, 0].set_ylabel("root mean square error")
    figure.legend(handles=axes[0, 0].lines, loc="outside right center")
    return figure


def importances(named: Mapping[str, np.ndarray], factors: Sequence[str], parts: Mapping[str, slice]) -> Figure:
    """How much each dimension of a code serves each factor, (d, K) by name; lines where the parts of the first end."""
    figure, axes = plt.subplots(
        len(named), 1, figsize=(7.5, 1.3 * len(named) + 0.6), squeeze=False, layout="constrained"
    )
    for row, (ax, (name, importance)) in enumerate(zip(axes[:, 0], named.items(), strict=True)):
        shown = ax.imshow(importance.T, cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        ax.set_yticks(range(len(factors)), factors)
        ax.set_title(name, fontsize=11)
        for part in list(parts.values())[:-1] if row == 0 else []:
            ax.axvline(part.stop - 0.5, color=INPUT, linewidth=1)
    axes[-1, 0].set_xlabel("dimension of the latent")
    figure.colorbar(shown, ax=axes[:, 0], label="importance")
    return figure


def of_dci(found: measures.DCI) -> dict[str, float]:
    return {"D": found.disentanglement, "C": found.completeness, "I": found.informativeness}


def scores(codes: np.ndarray) -> dict[str, float]:
    """All scores of codes on a grid (n_1, …, n_K, d), by the names that the literature knows them by."""
    return {
        "β-VAE": measures.beta_vae_score(codes),
        "FactorVAE": measures.factor_vae_score(codes),
        "MIG": measures.mutual_information_gap(codes),
        "SAP": measures.separated_attribute_score(codes),
        **of_dci(measures.dci(codes)),
    }
