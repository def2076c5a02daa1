"""Says whether a data set on disk is complete: python -m data_scripts.check realhand"""

import sys
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from dvae_lib import settings
from dvae_lib.datasets import open_source
from dvae_lib.datasets.fetch import read_hashes, verify
from dvae_lib.files import UserError, atomic_write
from dvae_lib.plots.samples import contact_sheet

HASHES = Path(__file__).with_name("realhand.sha256")


def _some(names: list[str], what: str) -> str:
    shown = ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
    return f"{len(names)} {'file is' if len(names) == 1 else 'files are'} {what} ({shown})"


def complain(name: str, folder: Path) -> str | None:
    """What is wrong with the files in the folder, as a sentence; nothing if they are complete."""
    missing, damaged = verify(folder, read_hashes(HASHES))
    wrong = [_some(missing, "missing")] if missing else []
    wrong += [_some(damaged, "not as published")] if damaged else []
    advice = f"Run `python -m data_scripts.download {name}` to fetch what is wanting."
    return f"{name} in {folder} is not complete: {' and '.join(wrong)}. {advice}" if wrong else None


def main(
    name: Annotated[str, typer.Argument(help="The data set: realhand.")],
    root: Annotated[Path | None, typer.Option(help="Its folder; DVAE_DATA_ROOT/NAME unless given.")] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw crops with their joints into this PNG.")] = None,
    size: Annotated[int, typer.Option(help="Side of these crops in pixels.", min=16)] = 128,
):
    """Checks that every file of a data set is there and is the published one; exits with 1 if not."""
    if name != "realhand":
        raise UserError(f"“{name}” has no files to check: rendered hands are made, not fetched. Try realhand.")
    folder = root or settings.data_root() / name
    complaint = complain(name, folder)
    if complaint:
        raise UserError(complaint)
    source = open_source(name, root=folder)
    print(f"{name} in {folder} is complete: {len(source)} photographs with their poses, every file as published.")
    if sheet:
        samples = source.read(np.linspace(0, len(source) - 1, 48).astype(int), size)
        with atomic_write(sheet) as file:
            contact_sheet(samples).savefig(file, format="png", dpi=size / 1.4, bbox_inches="tight")
        print(f"Crops of 48 of them, with their joints, are drawn in {sheet}.")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(str(error))
