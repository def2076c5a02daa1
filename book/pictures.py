"""Draws the README's pictures from the data and the trained model: `python book/pictures.py`."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

from dvae_lib.datasets.synthetic import SyntheticSource
from dvae_lib.experiments import load_or_train
from dvae_lib.plots import cross_modal
from dvae_lib.plots.hands import grid, show_image, use_book_style
from dvae_lib.synthetic import scenes

STATIC = Path(__file__).parent / "_static"


def hands() -> None:
    """One hand a row, and the same hand with one factor taken from another."""
    source = SyntheticSource("synth-rhd")
    rows, factors = 3, ["pose", "viewpoint", "person", "background", "light"]
    first, second = source.scene(np.arange(rows) * 701 + 11), source.scene(np.arange(rows) * 701 + 20_000)
    figure, axes = grid(rows, len(factors) + 1, column_names=["a hand", *(f"new {name}" for name in factors)], cell=1.5)
    pictures = [first, *(scenes.replace(first, second, name) for name in factors)]
    for column, scene in enumerate(pictures):
        for ax, image in zip(axes[:, column], source.render(scene, 160)["image"], strict=True):
            show_image(ax, torch.from_numpy(image).float() / 127.5 - 1)
    figure.savefig(STATIC / "readme-hands.png", dpi=100)


def cross_modal_readings() -> None:
    """Test images, what the model reads from them, and what it draws for their poses."""
    run = load_or_train("cross-modal")
    batch = run.batches("test", 64).at(0)
    cross_modal.translations(run.load(), batch, list(range(7))).savefig(STATIC / "readme-crossmodal.png", dpi=100)


if __name__ == "__main__":
    use_book_style()
    plt.switch_backend("agg")
    hands()
    cross_modal_readings()
