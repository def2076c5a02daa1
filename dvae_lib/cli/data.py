"""Commands that download, create and check data sets, and exchange trained runs."""

from pathlib import Path
from typing import Annotated

import typer

from dvae_lib.cli.application import Data, DataSet, Profile, app, known_runs, report_user_errors


@app.command()
@report_user_errors
def download(
    name: DataSet,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="Accept its licence.")] = False,
    archive: Annotated[
        list[Path] | None,
        typer.Option(
            "--archive",
            "--from",
            help="A local zip file of rhd or stb, or a package of detector or camera; or a folder of these.",
        ),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Target folder; default: DVAE_DATA_ROOT/NAME.")] = None,
    base: Annotated[str | None, typer.Option(help="Address of a mirror, in place of the authors' server.")] = None,
    revision: Annotated[str | None, typer.Option(help="Another commit or branch of the repository.")] = None,
) -> None:
    """Downloads data or the hand detector, resuming partial downloads, or unpacks archives; checks every file."""
    from dvae_lib.downloads.download import download

    download(name, folder, accept_licence, archive or [], base, revision)


@app.command()
@report_user_errors
def label(
    folder: Annotated[Path, typer.Argument(help="A video, or a folder of photographs or videos, of one hand each.")],
    name: Annotated[str, typer.Option(help="Name of the new data set: DVAE_DATA=NAME then selects it.")],
    rate: Annotated[float, typer.Option(min=0.01, help="Frames per second taken from a video.")] = 5.0,
    doubt: Annotated[
        float, typer.Option(min=0, max=1, help="Exclude hands whose two predictions differ by more, in hand sizes.")
    ] = 0.1,
) -> None:
    """Creates a data set of your own hands: detects the hand in each photograph and labels its joints."""
    from dvae_lib.datasets.own import split
    from dvae_lib.label import label, said
    from dvae_lib.plots.samples import save_contact_sheet

    made = label(folder, name, rate, doubt)
    parts = ", ".join(f"{len(indices)} {part}" for part, indices in split(made.source).items() if part != "final")
    typer.echo(f"{made.source.folder}: {len(made.source)} hands of {made.looked} pictures ({parts}).")
    if left_out := said(made.left_out):
        typer.echo(f"Excluded: {left_out}.")
    if len(made.doubtful):
        sheet = made.source.folder / "doubtful.png"
        save_contact_sheet(made.source.read(made.doubtful[:48], 128), sheet, 128)
        typer.echo(f"{len(made.doubtful)} should be checked, the most doubtful first: {sheet}.")
    typer.echo(f"To train on them: DVAE_DATA={name} dvae train dvae-zu")


@app.command("fetch-runs")
@report_user_errors
def fetch_runs(
    source: Annotated[str, typer.Argument(help="A file of `dvae pack-runs`, a folder with its contents, or a URL.")],
) -> None:
    """Checks and installs trained runs, so that they need not be trained here; never done automatically."""
    from dvae_lib.downloads.trained import fetch_runs

    for run in fetch_runs(source):
        typer.echo(f"{run.experiment.name}: {run.folder}")


@app.command("pack-runs")
@report_user_errors
def pack_runs(
    out: Annotated[Path, typer.Argument(help="The zip file to write.")], profile: Profile = None, data: Data = None
) -> None:
    """Packs the runs that the book trains into one file, for `dvae fetch-runs` on another machine."""
    from dvae_lib.downloads.trained import pack_runs
    from dvae_lib.experiments.profiles import BOOK

    pack_runs([run for name, run in known_runs(profile, data, None).items() if name in BOOK], out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.0f} MB")


@app.command()
@report_user_errors
def check(
    name: DataSet,
    folder: Annotated[Path | None, typer.Option(help="Its folder; default: DVAE_DATA_ROOT/NAME.")] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Open every image instead of a sample.")] = False,
    view: Annotated[
        list[str] | None, typer.Option(help="For stb, only these views: BB_left, BB_right, SK_color, SK_depth.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also save crops with their joints as this PNG.")] = None,
    size: Annotated[int, typer.Option(help="Side of these crops in pixels.", min=16)] = 128,
) -> None:
    """Checks that every file of a data set exists and can be read; the exit status is 1 if not."""
    from dvae_lib.downloads.check import check

    check(name, folder, thorough, view, sheet, size)
