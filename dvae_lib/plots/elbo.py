"""The figures of chapter 01: the evidence, its bounds, their gradients, and a plain VAE of hand poses."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, StrMethodFormatter
from torch import Tensor

from dvae_lib.plots.hands import INK, MUTED, OURS, TRUTH, grid, show_pose

_GREEN = "#009E73"


def pose_rows(rows: Mapping[str, Tensor], cell: float = 1.4) -> Figure:
    """Normalised poses side by side, one named row for each entry (n, 21, 3), all to the same scale."""
    columns = max(len(poses) for poses in rows.values())
    figure, axes = grid(len(rows), columns, list(rows), cell=cell)
    joints = torch.cat(list(rows.values()))[..., :2]
    reach = 0.53 * (joints.amax(1) - joints.amin(1)).max().item()
    for row, poses in zip(axes, rows.values(), strict=True):
        for ax, pose in zip(row, poses, strict=False):
            show_pose(ax, pose, reach=reach)
    return figure


def finger_fan(z: Tensor, joints: Tensor, observed: Tensor) -> Figure:
    """The effect of a one-dimensional latent: fingers (n, 6) for z (n,), and one noisy observation (6,)."""
    figure, ax = plt.subplots(figsize=(5.4, 3.4))
    colours = plt.colormaps["viridis"]
    scale = plt.Normalize(float(z.min()), float(z.max()))
    for value, finger in zip(z.tolist(), joints.unflatten(-1, (3, 2)).numpy(), strict=True):
        points = np.vstack([[0, 0], finger])
        ax.plot(*points.T, "-o", color=colours(scale(value)), linewidth=2, markersize=4)
    seen = np.vstack([[0, 0], observed.reshape(3, 2).numpy()])
    ax.plot(*seen.T, ":", color=TRUTH, linewidth=1.2, zorder=3)
    ax.plot(*seen[1:].T, "x", color=TRUTH, markersize=10, markeredgewidth=2.5, label="observed", zorder=3)
    ax.set(aspect="equal", xlabel="bone scales", ylabel="bone scales")
    ax.legend(loc="lower right")
    figure.colorbar(ScalarMappable(scale, colours), ax=ax, label="$z$", fraction=0.046)
    return figure


def naive_evidence(d: Sequence[int], error: Tensor) -> Figure:
    """Errors (len(d), n) of log p(x) estimated from samples of the prior, against the size of the latent."""
    figure, ax = plt.subplots(figsize=(5.6, 3.2))
    ax.axhline(0, color=MUTED, linestyle="--")
    ax.plot(d, error.numpy(), ".", color=OURS, alpha=0.25, markersize=4)
    ax.plot(d, error.mean(1).numpy(), "-o", color=TRUTH, label="mean")
    ax.set(xscale="log", xlabel="dimensions of the latent, $d$", ylabel="estimate − truth (nats)")
    ax.set_xticks(d, [str(n) for n in d])
    ax.minorticks_off()
    ax.legend()
    return figure


def decomposition(
    z: Tensor, posterior: Tensor, candidates: Mapping[str, tuple[Tensor, float]], evidence: float
) -> Figure:
    """Left: the posterior (n,) and candidates for q over z (n,). Right: their bounds, and their KL to the posterior.

    candidates: name → (density (n,), bound in nats).
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    left.fill_between(z, posterior, color="#d9d9d9", label="posterior $p(z|x)$")
    for name, (density, _) in candidates.items():
        left.plot(z, density, label=name)
    left.set(xlim=(-1, 5.5), xlabel="$z$", ylabel="density", ylim=(0, None))
    left.legend()

    right.axhline(evidence, color=INK, linestyle="--")
    right.annotate(
        r"evidence $\log p(x)$",
        (1, evidence),
        (0, 3),
        right.get_yaxis_transform(),
        "offset points",
        va="bottom",
        ha="right",
    )
    bounds = np.array([bound for _, bound in candidates.values()])
    low = bounds.min() - 0.35 * (evidence - bounds.min())
    for i, bound in enumerate(bounds):
        right.bar(i, bound - low, bottom=low, width=0.6, color=OURS, label="ELBO" if i == 0 else None)
        label = r"$D_{KL}(q\,\Vert\,$posterior)" if i == 0 else None
        right.bar(i, evidence - bound, bottom=bound, width=0.6, color="#E69F00", label=label)
        right.text(i, low + 0.04 * (evidence - low), f"{bound:.2f}".replace("-", "−"), ha="center", color="white")
    right.set(ylabel="nats", ylim=(low, evidence + 0.15 * (evidence - low)))
    right.set_xticks(range(len(candidates)), list(candidates))
    right.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    return figure


def bound_against_q(
    curves: Mapping[str, tuple[Tensor, Tensor]], points: Mapping[str, tuple[Tensor, Tensor]], evidence: float
) -> Figure:
    """The bound as q moves away from the posterior, a panel for each direction; entries are name → (distance, nats).

    curves: the evidence minus the KL; points: the bound, estimated by sampling.
    """
    figure, axes = plt.subplots(1, len(curves), figsize=(8, 3.4), sharey=True, layout="constrained")
    for ax, (name, curve) in zip(axes, curves.items(), strict=True):
        ax.axhline(evidence, color=INK, linestyle="--", label="evidence")
        ax.plot(*curve, color=OURS, label=r"evidence − $D_{KL}(q\,\Vert\,$posterior)")
        ax.plot(*points[name], "o", color=TRUTH, markersize=5, label="bound, estimated by sampling")
        ax.set(xlabel=name)
    axes[0].set(ylabel="nats")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def effective_beta(beta: Tensor, kl: Tensor, marks: Mapping[str, tuple[float, float]]) -> Figure:
    """The KL of the best q, in nats (n,), against its weight β (n,); marks: name → (β, nats)."""
    figure, ax = plt.subplots(figsize=(6.2, 3.2))
    ax.plot(beta, kl, color=OURS)
    for name, (x, y) in marks.items():
        ax.plot(x, y, "o", color=TRUTH)
        ax.annotate(name, (x, y), xytext=(7, 5), textcoords="offset points")
    ax.set(xscale="log", xlabel=r"effective $\beta$", ylabel=r"$D_{KL}(q\,\Vert\,p)$ (nats)", ylim=(0, None))
    return figure


def gradient_estimates(
    samples: Mapping[str, Tensor], truth: float, d: Sequence[int], std: Mapping[str, list]
) -> Figure:
    """Left: single-sample estimates (n,) of one derivative. Right: their standard deviations against d."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
    colours = dict(zip(samples, (MUTED, "#E69F00", OURS), strict=False))
    widest = max(values.std().item() for values in list(samples.values())[1:])
    bins = np.linspace(truth - 4 * widest, truth + 4 * widest, 81)
    for name, values in samples.items():
        left.hist(values.numpy(), bins, density=True, color=colours[name], alpha=0.7, label=name)
        right.plot(d, std[name], "-o", color=colours[name], label=name)
    left.axvline(truth, color=INK, linestyle="--")
    left.set(xlabel="estimate from one sample", ylabel="density", yscale="log")
    right.set(xscale="log", yscale="log", xlabel="dimensions of the latent, $d$", ylabel="standard deviation")
    right.set_xticks(d, [str(n) for n in d])
    right.minorticks_off()
    right.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    right.legend()
    return figure


def training_curve(step: np.ndarray, bound: np.ndarray, distortion: np.ndarray, rate: np.ndarray) -> Figure:
    """The bound and its two terms during training, all in nats."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.0), layout="constrained")
    left.plot(step, bound, color=OURS, linewidth=1)
    low, high = np.percentile(bound, [10, 100])
    left.set(xlabel="step", ylabel="bound (nats)", ylim=(low - 0.05 * (high - low), high + 0.1 * (high - low)))
    # Both scales are logarithmic, because the KL rises within a few steps.
    right.plot(step + 1, distortion, color=TRUTH, linewidth=1, label="distortion: squared error")
    right.plot(step + 1, rate, color=_GREEN, linewidth=1, label="rate: KL to the prior")
    right.set(xlabel="step", ylabel="nats", xscale="log", yscale="log")
    figure.legend(loc="outside lower right", ncols=2)
    return figure


def kl_per_dimension(kl: Tensor, threshold: float) -> Figure:
    """The mean KL (d,) of each latent dimension, sorted; dimensions above the threshold are in colour."""
    figure, ax = plt.subplots(figsize=(7.5, 2.8))
    kl = kl.sort(descending=True).values
    colours = [OURS if value > threshold else MUTED for value in kl]
    ax.bar(range(1, len(kl) + 1), kl, color=colours)
    ax.axhline(threshold, color=INK, linewidth=0.8, linestyle="--")
    ax.set(xlabel="latent dimensions, sorted", ylabel="mean KL (nats)", xlim=(0, len(kl) + 1))
    return figure


def importance(counts: Sequence[int], estimates: Sequence[float], elbo: float) -> Figure:
    """Importance-weighted bounds from several numbers of samples, and the ELBO below them."""
    figure, ax = plt.subplots(figsize=(5.6, 3.0))
    ax.axhline(elbo, color=INK, linestyle="--", label="ELBO")
    ax.plot(counts, estimates, "-o", color=OURS, label="importance-weighted")
    ax.set(xscale="log", xlabel="samples, $M$", ylabel=r"bound on $\log p(x)$ (nats)")
    ax.legend(loc="lower right")
    return figure
