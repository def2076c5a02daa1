"""Confidence intervals of numbers, and of comparisons of methods on the same samples (chapters 04 to 08, 10).

For one training run, `bootstrap_ci` estimates the variation over samples. Results also vary between training runs: for
methods that were trained several times, `contrast_ci` estimates the variation over seeds and samples.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from scipy.stats import bootstrap
from scipy.stats import t as student_t
from torch import Tensor

from dvae_lib.datasets import BLOCKS

Interval = tuple[float, float, float]  # the mean, and the ends of its 95 % interval


def bootstrap_ci(
    values: Float[Tensor, " N"],
    block_size: int = 1,
    denominator: Float[Tensor, " N"] | None = None,
    level: float = 0.95,
) -> Interval:
    """The mean of values (N,), and the ends of its bootstrap interval.

    block_size: how many consecutive samples are resampled together (a block bootstrap), since the errors of images of
    one pose are correlated. N is a multiple of it.
    denominator: (N,) values of the same samples; the result is divided by their mean.
    """
    total = torch.ones_like(values) if denominator is None else denominator
    above, below = (series.double().view(-1, block_size).mean(1).numpy() for series in (values, total))

    def ratio(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray | np.floating:
        return a.mean(axis) / b.mean(axis)

    drawn = bootstrap((above, below), ratio, paired=True, confidence_level=level, method="percentile", random_state=0)
    low, high = drawn.confidence_interval
    return float(ratio(above, below)), float(low), float(high)


def bootstrap_block_size(data: str, samples: int) -> int:
    """The block size of `bootstrap_ci` for a number of a data set's held-out samples in order.

    The errors of consecutive frames of a video are correlated. If there are too few frames for two blocks, it is 1.
    """
    frames = BLOCKS.get(data, 1)
    return frames if samples >= 2 * frames else 1


def drop_missing(
    errors: Mapping[object, Float[Tensor, " N"]], block_size: int = 1
) -> dict[object, Float[Tensor, " left"]]:
    """Errors (N,) of the same samples by several methods, without the samples for which any of them is NaN (no joint is
    visible there), and without the last ones that do not fill a block, as `bootstrap_ci` requires.
    """
    shown = ~torch.stack(list(errors.values())).isnan().any(0)
    left = int(shown.sum()) // block_size * block_size
    return {name: values[shown][:left] for name, values in errors.items()}


def answer(estimate: Interval, sign: int = 1) -> str:
    """Whether something is above zero, or with sign −1 below: “yes”, “no” or, if its interval contains zero, “open”."""
    low, high = sorted(sign * end for end in estimate[1:])
    return "yes" if low > 0 else "no" if high < 0 else "open"


def improvement(
    errors: Float[Tensor, " N"], over: Float[Tensor, " N"], block_size: int = 1, level: float = 0.95
) -> Interval:
    """By how many per cent the mean of errors (N,) is lower than that of others, `over` (N,), of the same samples.

    With the ends of its paired bootstrap interval; negative where it is higher. block_size: see `bootstrap_ci`.
    """
    mean, low, high = (100 * value for value in bootstrap_ci(over - errors, block_size, over, level))
    return mean, low, high


Matrix = Float[Tensor, "_ units"]  # of each seed and unit; methods may differ in their seeds


def contrast_ci(terms: Sequence[tuple[float, Matrix]], log: bool = True, level: float = 0.95) -> Interval:
    r"""For methods m that were trained S_m times and tested on the same U units: $\sum_m w_m \log \mu_m$, where $\mu_m$
    is the mean of a method's matrix (S_m, U), with the ends of its interval. Without `log`: $\sum_m w_m \mu_m$.

    terms: the weight w_m and the matrix of each method. Samples of the same unit, such as a room or a person, are
    dependent.

    The effect of a seed is the same on all units, and independent of the other methods' seeds; a unit is easy or hard
    for all methods and seeds. With every matrix divided by its mean (from the derivative of the logarithm),
    $v_s = \sum_m w_m^2 \operatorname{var}(\text{means of seeds}) / S_m$ and $v_u = \operatorname{var}(\sum_m w_m \cdot
    \text{means of units}) / U$, less the part of it that is the interaction of seeds and units and is in $v_s$ already,
    but not below 0. The interval is the estimate $\pm \sqrt{t_\nu^2 v_s + t_{U-1}^2 v_u}$, with Student's quantiles and
    Welch's $\nu$. In simulations with 3 and 5 seeds and 40 units or more, it contains the true value in 95 to 98 % of
    cases. A two-level bootstrap, which resamples seeds and units, does so less often: it underestimates the variation
    of so few seeds.

    If there is one unit, as for a number of a whole test set, the interval is over seeds only.

    Raises ValueError for fewer than two seeds.
    """
    (_, first), *_ = terms
    units = first.shape[1]
    if any(len(matrix) < 2 for _, matrix in terms):
        raise ValueError("The variation over seeds cannot be estimated with fewer than two seeds.")
    estimate = seeds = degrees = interaction = 0.0
    difference = torch.zeros(units, dtype=torch.float64)
    for weight, matrix in terms:
        mean = matrix.double().mean().item()
        scaled = matrix.double() * (weight / mean if log else weight)
        estimate += weight * float(np.log(mean)) if log else weight * mean
        of_seeds, of_units = scaled.mean(1, keepdim=True), scaled.mean(0)
        seed_variance = of_seeds.var().item() / len(scaled)
        seeds += seed_variance
        degrees += seed_variance**2 / (len(scaled) - 1)
        rest = scaled - of_seeds - of_units + scaled.mean()
        interaction += rest.square().sum().item() / ((len(scaled) - 1) * max(1, units - 1) * len(scaled))
        difference += of_units
    half_seeds = student_t.ppf(0.5 + level / 2, seeds**2 / degrees) ** 2 * seeds if degrees else 0.0
    half_units = 0.0
    if units > 1:
        between = max(0.0, (difference.var().item() - interaction) / units)
        half_units = student_t.ppf(0.5 + level / 2, units - 1) ** 2 * between
    half = float(np.sqrt(half_seeds + half_units))
    return estimate, estimate - half, estimate + half


def ratio_ci(ours: Matrix, theirs: Matrix, level: float = 0.95) -> Interval:
    """The mean of ours over the mean of theirs, with its interval over seeds and units: see `contrast_ci`."""
    mean, low, high = np.exp(contrast_ci([(1.0, ours), (-1.0, theirs)], level=level)).tolist()
    return mean, low, high
