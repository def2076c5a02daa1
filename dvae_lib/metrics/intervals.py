"""How sure a number is, and a comparison of two on the same samples: bootstrap intervals (chapters 04 to 08)."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import bootstrap
from torch import Tensor

Interval = tuple[float, float, float]  # the mean, and the ends of its 95 % interval
_VIDEOS = {"stb": 25, "synth-stb": 25, "realhand": 15}  # frames that are drawn as one


def interval(values: Tensor, each: int = 1, share_of: Tensor | None = None) -> Interval:
    """The mean of values (N,), and the ends of its 95 % bootstrap interval.

    each: how many that follow one another belong together; only whole groups are drawn anew, since the images of one
    pose are all good or all bad.
    share_of: (N,) values of the same samples, whose mean the result is divided by.
    """
    total = torch.ones_like(values) if share_of is None else share_of
    groups = [group.double().view(-1, each).mean(1).numpy() for group in (values, total)]

    def ratio(a: NDArray, b: NDArray, axis: int = -1) -> NDArray | np.floating:
        return a.mean(axis) / b.mean(axis)

    found = bootstrap(groups, ratio, paired=True, confidence_level=0.95, method="percentile", random_state=0)
    low, high = found.confidence_interval
    return float(ratio(*groups)), float(low), float(high)


def together(data: str, samples: int) -> int:
    """How many of a data set's test samples that follow one another are drawn as one in an interval.

    Frames of a video are all good or all bad for a while. Where there are too few for two groups, one by one.
    """
    frames = _VIDEOS.get(data, 1)
    return frames if samples >= 2 * frames else 1


def comparable(errors: Mapping[object, Tensor], each: int = 1) -> dict[object, Tensor]:
    """Errors (N,) of the same samples by several methods, as `interval` wants them: without the samples that
    show no joint (NaN), and cut to whole groups of `each`.
    """
    shown = ~torch.stack(list(errors.values())).isnan().any(0)
    left = int(shown.sum()) // each * each
    return {name: values[shown][:left] for name, values in errors.items()}


def answer(found: Interval, sign: int = 1) -> str:
    """Whether something is above zero, or with sign −1 below it: “yes”, “no” or, if its interval has zero, “open”."""
    low, high = sorted(sign * end for end in found[1:])
    return "yes" if low > 0 else "no" if high < 0 else "open"


def improvement(errors: Tensor, over: Tensor, each: int = 1) -> Interval:
    """How much lower the mean of errors (N,) is than that of others' (N,) on the same samples, in per cent of theirs.

    With the ends of its paired 95 % bootstrap interval; negative where it is higher. each: see `interval`.
    """
    mean, low, high = (100 * value for value in interval(over - errors, each, over))
    return mean, low, high
