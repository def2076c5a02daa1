"""How sure a number is, and a comparison of two on the same samples: bootstrap intervals (chapters 04 to 08)."""

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import bootstrap
from torch import Tensor

Interval = tuple[float, float, float]  # the mean, and the ends of its 95 % interval
_VIDEOS = {"stb": 25, "synth-stb": 25, "realhand": 15}  # frames that are redrawn as one


def bootstrap_ci(
    values: Float[Tensor, " N"], block_size: int = 1, denominator: Float[Tensor, " N"] | None = None
) -> Interval:
    """The mean of values (N,), and the ends of its 95 % bootstrap interval.

    block_size: how many samples that follow one another are redrawn as one (a block bootstrap), since the images of
    one pose are all good or all bad. N is a multiple of it.
    denominator: (N,) values of the same samples, whose mean the result is divided by.
    """
    total = torch.ones_like(values) if denominator is None else denominator
    above, below = (series.double().view(-1, block_size).mean(1).numpy() for series in (values, total))

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray | np.floating:
        return a.mean(axis) / b.mean(axis)

    drawn = bootstrap((above, below), ratio, paired=True, confidence_level=0.95, method="percentile", random_state=0)
    low, high = drawn.confidence_interval
    return float(ratio(above, below)), float(low), float(high)


def bootstrap_block_size(data: str, samples: int) -> int:
    """The block size of `bootstrap_ci` for a number of a data set's test samples in order.

    Frames of a video are all good or all bad for a while. Where there are too few for two blocks, it is 1.
    """
    frames = _VIDEOS.get(data, 1)
    return frames if samples >= 2 * frames else 1


def drop_missing(
    errors: Mapping[object, Float[Tensor, " N"]], block_size: int = 1
) -> dict[object, Float[Tensor, " left"]]:
    """Errors (N,) of the same samples by several methods, without the samples for which any of them is NaN (no joint is
    visible there), and without the last ones that do not fill a block: what `bootstrap_ci` takes.
    """
    shown = ~torch.stack(list(errors.values())).isnan().any(0)
    left = int(shown.sum()) // block_size * block_size
    return {name: values[shown][:left] for name, values in errors.items()}


def answer(estimate: Interval, sign: int = 1) -> str:
    """Whether something is above zero, or with sign −1 below it: “yes”, “no” or, if its interval has zero, “open”."""
    low, high = sorted(sign * end for end in estimate[1:])
    return "yes" if low > 0 else "no" if high < 0 else "open"


def improvement(errors: Float[Tensor, " N"], over: Float[Tensor, " N"], block_size: int = 1) -> Interval:
    """How much lower the mean of errors (N,) is than that of others' (N,) on the same samples, in per cent of theirs.

    With the ends of its paired 95 % bootstrap interval; negative where it is higher. block_size: see `bootstrap_ci`.
    """
    mean, low, high = (100 * value for value in bootstrap_ci(over - errors, block_size, over))
    return mean, low, high
