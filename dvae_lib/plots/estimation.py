"""The figures of chapter 06: estimated and true poses, and walks in one factor; and the table of its search."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from IPython.display import Markdown
from matplotlib.figure import Figure
from torch import Tensor

from dvae_lib import settings
from dvae_lib.experiments import search
from dvae_lib.experiments.counterfactuals import encode
from dvae_lib.models import DVAE
from dvae_lib.plots import tables
from dvae_lib.plots.hands import INPUT, OURS, TRUTH, sentence, show_image, show_pose


def no_run(like: str) -> Figure:
    """Replaces a figure on a data set that is not among the selected data; like: "stb" or "rhd"."""
    return sentence(f"No model was trained on hands like {like.upper()}'s: set DVAE_DATA={like}, or synthetic.")


def _blocks(rows: int, blocks: int, columns: int, gap: float = 0.6) -> tuple[Figure, np.ndarray]:
    """Empty square axes (rows, blocks, columns), with a gap between the blocks; gap: its width in cells."""
    widths = ([1.0] * columns + [gap]) * (blocks - 1) + [1.0] * columns
    cell = min(1.2, 6.9 / sum(widths))
    figure, axes = plt.subplots(
        rows,
        len(widths),
        figsize=(cell * sum(widths) + 0.6, cell * rows),
        squeeze=False,
        gridspec_kw={"wspace": 0.06, "hspace": 0.06, "width_ratios": widths},
    )
    for ax in axes.flat:
        show_image(ax)
    spacers = [i for i, width in enumerate(widths) if width != 1]
    for ax in axes[:, spacers].flat:
        ax.set_axis_off()
    return figure, np.delete(axes, spacers, axis=1).reshape(rows, blocks, columns)


def quintets(sets: Mapping[str, Mapping[str, Tensor]], row_names: Sequence[str]) -> Figure:
    """The paper's Fig. 8: an image, its CPose (red) and ours (blue), its 3DPose (red) and ours (blue).

    sets: data set → "image" (n, 3, S, S); "cpose", "pose" and the predicted "cpose read", "pose read" (n, 21, 3), in
    bone scales; "error" (n,) of the 3DPose in mm. A row has one sample of each data set.
    """
    figure, axes = _blocks(len(row_names), len(sets), 5)
    for block, samples in enumerate(sets.values()):
        titles = ("image", "CPose", "ours", "3DPose", "ours")
        for ax, title in zip(axes[0, block], titles, strict=True):
            ax.set_title(title, fontsize=9)
        for i, row in enumerate(axes[:, block]):
            show_image(row[0], samples["image"][i])
            for ax, name in zip(row[1:], ("cpose", "cpose read", "pose", "pose read"), strict=True):
                show_pose(ax, samples[name][i], colour=OURS if "read" in name else TRUTH)
            row[4].text(1.03, 0.5, f"{samples['error'][i]:.0f} mm", fontsize=7, va="center", transform=row[4].transAxes)
    for ax, name in zip(axes[:, 0, 0], row_names, strict=True):
        ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    for block, name in enumerate(sets):
        axes[-1, block, 2].set_xlabel(name, fontsize=10, labelpad=6)
    return figure


@torch.inference_mode()
def factor_walks(model: DVAE, batch: Mapping[str, Tensor], pairs: Sequence[tuple[int, int]], steps: int = 5) -> Figure:
    """3DPoses on walks from one sample to another in two stages, laid out as in the supplement's Fig. 4.

    A row for each pair. In the left columns the CPose changes, in the right ones the viewpoint; the two inputs are
    framed, and all others are decoded.
    """
    z = encode(model, batch)
    figure, axes = _blocks(len(pairs), 2, steps)
    for (start, end), (left, right) in zip(pairs, axes, strict=True):
        first = model.walk(z[[start]], z[[end]], steps, ["cpose"])[:, 0]
        second = model.walk(first[[-1]], z[[end]], steps + 1, ["viewpoint"])[:, 0]
        for ax, i in ((left[0], start), (right[-1], end)):
            show_pose(ax, batch["pose"][i], colour=TRUTH)
            show_image(ax, frame=INPUT)
        poses = model.decode(torch.cat([first[1:], second[1:-1]]), ["pose"])["pose"]
        for ax, pose in zip((*left[1:], *right[:-1]), poses, strict=True):
            show_pose(ax, pose, colour=OURS)
    axes[0, 0, steps // 2].set_title("CPose changes", fontsize=10)
    axes[0, 1, steps // 2].set_title("viewpoint changes", fontsize=10)
    return figure


# The quantity whose error a search compares, if it is not the EPE of the 3DPose.
_ERROR_OF = {"only-cpose-rhd": "CPose, mm", "only-viewpoint-rhd": "viewpoint, °", "dvae-image": "image, RMSE"}


def search_table(name: str) -> Markdown:
    """The errors of all trials in searches over learning rates: a row for each β or rotation, a column for each rate.

    The selected trial is bold once the search is complete.
    """
    tried = search.found()
    known = [(one, search.errors(one, tried)) for one in search.searches(settings.data()) if "lr" in one.grid]
    known = [(one, errors) for one, errors in known if errors]
    rates = sorted({values[0] for _, errors in known for values in errors})
    rows = [] if known else [["no trial yet: `dvae study`", "", ""]]
    for one, errors in known:
        chosen = None if one.missing(errors) else one.choose(errors)
        for i, beta in enumerate(sorted({values[1:] for values in errors})):
            names = ["", ""] if i else [one.name, _ERROR_OF.get(one.name, "3DPose, mm")]
            trials = [errors.get((rate, *beta)) for rate in rates]
            cells = ["" if error is None else f"{error:#.3g}".rstrip(".") for error in trials]
            if chosen and chosen[1:] == beta:
                cells[rates.index(chosen[0])] = f"**{cells[rates.index(chosen[0])]}**"
            rows.append([*names, *(f"{b:g}" if isinstance(b, float) else b for b in beta or [""]), *cells])
    header = ["", "error", "β, or rotation", *(f"rate {rate:g}" for rate in rates)]
    return tables.table(name, "The study's search on validation samples: errors, the selected bold", header, rows)
