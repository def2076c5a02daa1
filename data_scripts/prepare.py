"""Prepares a data set before training: python -m data_scripts.prepare realhand --size 128"""

from typing import Annotated

import typer

from dvae_lib.cli import report_user_errors
from dvae_lib.datasets import RECIPES, open_dataset


def main(
    name: Annotated[str, typer.Argument(help=f"The data set: {', '.join(RECIPES)}.")],
    size: Annotated[int, typer.Option(help="Side of the crops in pixels.", min=16)] = 64,
):
    """Writes the crops of a data set into DVAE_CACHE_ROOT, unless they exist there.

    Training in the profile `full` would do the same; the smaller profiles use fewer samples of most data sets.
    """
    dataset = open_dataset(name, size)
    gigabytes = sum(array.nbytes for array in dataset.arrays.values()) / 1e9
    print(f"{name}: {len(dataset)} samples of {size} pixels are ready in {dataset.folder} ({gigabytes:.2f} GB).")


if __name__ == "__main__":
    typer.run(report_user_errors(main))
