"""Renders hands: python -m data_scripts.make_synthetic synth-stb --pictures folder/"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image

from dvae_lib.cli import report_user_errors
from dvae_lib.datasets import open_source, prepare
from dvae_lib.files import UserError, atomic_write
from dvae_lib.plots.samples import save_contact_sheet

PRESETS = ("synth-stb", "synth-rhd")


def _save(samples: dict[str, np.ndarray], folder: Path, size: int) -> None:
    """Writes one PNG per sample, and all of them with their joints in sheet.png."""
    for i, image in enumerate(samples["image"]):
        with atomic_write(folder / f"{i:05d}.png") as file:
            Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(file, "PNG")
    save_contact_sheet(samples, folder / "sheet.png", size)


def main(
    preset: Annotated[str, typer.Argument(help=f"{' or '.join(PRESETS)}.")],
    size: Annotated[int, typer.Option(help="Side of the images in pixels.", min=16)] = 128,
    seed: Annotated[int, typer.Option(help="Another seed gives other hands.")] = 0,
    pictures: Annotated[Path | None, typer.Option(help="Only render some images, as PNG, into this folder.")] = None,
    count: Annotated[int, typer.Option(help="Number of images, spread over the data set.", min=1)] = 48,
):
    """Prepares a rendered data set in DVAE_CACHE_ROOT, or renders some images of it."""
    if preset not in PRESETS:
        raise UserError(f"There is no preset “{preset}”: choose one of {', '.join(PRESETS)}.")
    source = open_source(preset, seed=seed)
    if pictures is None:
        dataset = prepare(source, size)
        print(f"{preset}: {len(dataset)} samples of {size} pixels are ready in {dataset.folder}.")
    else:
        _save(source.read(np.linspace(0, len(source) - 1, count).astype(int), size), pictures, size)
        print(f"{count} images of {preset}, and sheet.png with their joints, are in {pictures}.")


if __name__ == "__main__":
    typer.run(report_user_errors(main))
