"""The figures of chapter 11: for factors of any kind, and images of any size."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure


def learning(
    metrics: Sequence[Mapping[str, float]], numbers: Mapping[str, int], panels: Mapping[str, str], smooth: int = 5
) -> Figure:
    """The root mean square error of every modality during training, on a logarithmic axis.

    metrics: the lines of metrics.jsonl. numbers: the dimension of each modality. panels: the title of each source of
    terms such as “image→colour”. A log-likelihood with unit variance is -n/2 (log 2π + mean square error).
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
