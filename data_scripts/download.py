"""Fetches a data set from its public repository: python -m data_scripts.download realhand --accept-licence"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from dvae_lib import settings
from dvae_lib.datasets.fetch import fetch_all, read_hashes
from dvae_lib.files import UserError

REPOSITORY = "3d-hand-shape/hand-graph-cnn"
REVISION = "670bad8660e31b7083f91eac96bb96fb9dec6e4f"  # the commit that added the photographs and their labels
FOLDER = "data/real_world_testset"
HASHES = Path(__file__).with_name("realhand.sha256")

LICENCE = f"""\
realhand: 583 photographs of hands with 3D poses, by Ge et al. (CVPR 2019), copyright 2019 Snap Inc.
Its licence, in short: use it for non-commercial research and education only; it comes as it is, without any
warranty, at your own risk; let only research associates and colleagues who agree to the same terms have it, with
the complete licence; Snap's name and logo are not yours to use. The full text is at
https://github.com/{REPOSITORY}/blob/{REVISION}/LICENSE and comes along as LICENSE."""


def address(name: str, base: str, revision: str) -> str:
    """Where a file of the data set lies in the repository; only the licence lies at its top."""
    path = name if name == "LICENSE" else f"{FOLDER}/{name}"
    return f"{base}/{REPOSITORY}/{revision}/{path}"


def main(
    name: Annotated[str, typer.Argument(help="The data set: realhand.")],
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You agree to its licence.")] = False,
    root: Annotated[Path | None, typer.Option(help="Where to; DVAE_DATA_ROOT/NAME unless given.")] = None,
    base: Annotated[str, typer.Option(help="Server of the files, or a mirror.")] = "https://raw.githubusercontent.com",
    revision: Annotated[str, typer.Option(help="Commit or branch of the repository.")] = REVISION,
):
    """Downloads a data set, going on where an earlier download stopped, and checks the hash of every file."""
    if name != "realhand":
        raise UserError(f"“{name}” cannot be downloaded: the data set that can is realhand.")
    print(LICENCE)
    if not accept_licence:
        print("Nothing was downloaded: add --accept-licence if you agree to these terms.", file=sys.stderr)
        raise typer.Exit(2)
    folder = root or settings.data_root() / name
    fetched = fetch_all(folder, read_hashes(HASHES), lambda file: address(file, base, revision))
    print(f"{name} is complete in {folder}: {fetched} files were fetched, and every hash is right.")


if __name__ == "__main__":
    try:
        typer.run(main)
    except UserError as error:
        sys.exit(str(error))
