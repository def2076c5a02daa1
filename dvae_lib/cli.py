"""The command `dvae`: download, check, list, show, train, study, predict, report."""

import functools
import json
import os
import sys
from collections import Counter
from dataclasses import asdict, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from dvae_lib import __version__, settings
from dvae_lib.files import UserError, atomic_write, printable, write_json

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

Profile = Annotated[str | None, typer.Option(help=f"{', '.join(settings.PROFILES)}; DVAE_PROFILE if not given.")]
Data = Annotated[str | None, typer.Option(help=f"{', '.join(settings.DATASETS)}; DVAE_DATA if not given.")]
DataSet = Annotated[str, typer.Argument(help=f"The data set: {', '.join(settings.DOWNLOAD)}.")]
RootJoint = Annotated[
    str | None, typer.Option("--root", help="What poses are relative to: palm or wrist; DVAE_ROOT_JOINT if not given.")
]


def report_user_errors(command):
    """A UserError is the user's to mend: it is said in a sentence, without a traceback."""

    @functools.wraps(command)
    def wrapper(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except UserError as error:
            # Whatever names of files and other people's words it holds, it does nothing to the terminal.
            typer.secho("\n".join(printable(line, 4096) for line in str(error).splitlines()), fg="red", err=True)
            raise typer.Exit(1) from None

    return wrapper


def _show_version(asked: bool) -> bool:
    if asked:
        typer.echo(__version__)
        raise typer.Exit
    return asked


@app.callback()
def _options(
    version_: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The command. Letters that the encoding of its output lacks become question marks."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    app()


def _check(value: str | None, allowed: tuple[str, ...], what: str) -> None:
    if value is not None and value not in allowed:
        raise UserError(f"There is no {what} “{value}”: choose one of {', '.join(allowed)}.")


def _runs(profile: str | None, data: str | None, root_joint: str | None) -> dict:
    from dvae_lib.experiments.run import every_run  # torch takes seconds to import; --help should not

    _check(profile, settings.PROFILES, "profile")
    _check(data, settings.DATASETS, "data")
    _check(root_joint, settings.ROOT_JOINTS, "root joint")
    return every_run(profile, data, root_joint)


def _pick(runs: dict, name: str):
    if name not in runs:
        raise UserError(f"There is no experiment “{name}”: choose one of {', '.join(runs)}.")
    return runs[name]


@app.command()
@report_user_errors
def download(
    name: DataSet,
    accept_licence: Annotated[bool, typer.Option("--accept-licence", help="You agree to its licence.")] = False,
    archive: Annotated[
        list[Path] | None,
        typer.Option("--archive", "--from", help="A zip file of rhd or stb that you have, or a folder of them."),
    ] = None,
    folder: Annotated[Path | None, typer.Option(help="Where to; DVAE_DATA_ROOT/NAME unless given.")] = None,
    base: Annotated[str | None, typer.Option(help="Server of the files: a mirror in place of the authors'.")] = None,
    revision: Annotated[str | None, typer.Option(help="Another commit or branch of realhand's repository.")] = None,
) -> None:
    """Downloads a data set, resuming an earlier download, or unpacks archives; checks every file."""
    from dvae_lib.downloads.download import download

    download(name, folder, accept_licence, archive or [], base, revision)


@app.command("fetch-runs")
@report_user_errors
def fetch_runs(
    source: Annotated[
        str, typer.Argument(help="A file of `dvae pack-runs`, the folder of one unpacked, or an address.")
    ],
) -> None:
    """Takes in trained runs from elsewhere, checked, so that they need not be trained; never done by itself."""
    from dvae_lib.downloads.trained import fetch_runs

    for run in fetch_runs(source):
        typer.echo(f"{run.experiment.name}: {run.folder}")


@app.command("pack-runs")
@report_user_errors
def pack_runs(
    out: Annotated[Path, typer.Argument(help="The zip file to write.")], profile: Profile = None, data: Data = None
) -> None:
    """Packs the runs that the book trains into one file, for `dvae fetch-runs` elsewhere."""
    from dvae_lib.downloads.trained import pack_runs
    from dvae_lib.experiments.profiles import BOOK

    pack_runs([run for name, run in _runs(profile, data, None).items() if name in BOOK], out)
    typer.echo(f"{out}: {out.stat().st_size / 1e6:.0f} MB")


@app.command()
@report_user_errors
def check(
    name: DataSet,
    folder: Annotated[Path | None, typer.Option(help="Its folder; DVAE_DATA_ROOT/NAME unless given.")] = None,
    thorough: Annotated[bool, typer.Option("--thorough", help="Open every image, not a sample.")] = False,
    view: Annotated[
        list[str] | None, typer.Option(help="Of stb only these: BB_left, BB_right, SK_color, SK_depth.")
    ] = None,
    sheet: Annotated[Path | None, typer.Option(help="Also draw crops with their joints into this PNG.")] = None,
    size: Annotated[int, typer.Option(help="Side of these crops in pixels.", min=16)] = 128,
) -> None:
    """Checks that every file of a data set is there and can be read; exits with 1 if not."""
    from dvae_lib.downloads.check import check

    check(name, folder, thorough, view, sheet, size)


@app.command("list")
@report_user_errors
def list_(profile: Profile = None, data: Data = None, root_joint: RootJoint = None) -> None:
    """Every experiment: its data, its size in this profile, and whether it is trained."""
    for name, run in _runs(profile, data, root_joint).items():
        e = run.experiment
        state = "trained" if run.trained else "not trained"
        pixels = f"{e.size} px" if e.size else "no image"
        typer.echo(f"{name:28}{' + '.join(e.data):22}{pixels:>8} {e.steps:7} steps   {state:12}{e.about}")


def _text(value: Any) -> str:
    """A value of an experiment, for people."""
    if is_dataclass(value):
        value = {name: item for name, item in asdict(value).items() if item}
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


@app.command()
@report_user_errors
def show(
    name: Annotated[str, typer.Argument(help="An experiment of `dvae list`.")],
    profile: Profile = None,
    data: Data = None,
    root_joint: RootJoint = None,
) -> None:
    """An experiment whole: every value, and where it is not the paper's, the paper's and the reason."""
    run = _pick(_runs(profile, data, root_joint), name)
    e = run.experiment
    typer.secho(f"{name}, {e.kind}, in the profile {run.profile}: {e.about}", bold=True)
    effective = {"lambdas": "effective_lambdas", "beta": "effective_beta"}
    for setting, value in e.values().items():
        notes, (printed, place) = [], e.paper.get(setting, (value, ""))
        if printed != value:
            notes.append(f"the paper has {_text(printed)} ({place})")
        if setting in e.reasons:
            notes.append(e.reasons[setting])
        typer.echo(f"  {setting:22}{_text(value):44}{'; '.join(notes)}".rstrip())
        if setting in effective and getattr(e, "resolution", 256) != 256:
            scaled = f"× ({e.resolution} / 256)²" + (", except for images" if setting == "lambdas" else "")
            typer.echo(f"  {'  in effect':22}{_text(getattr(e, effective[setting])):44}{scaled}")
    stages = ", then ".join(f"{stage.steps} steps “{stage.name}”" for stage in e.stages if stage.steps)
    typer.echo(f"  {'stages':22}{stages}")
    typer.echo(f"  {'folder':22}{run.folder} ({'trained' if run.trained else 'not trained'})")


@app.command()
@report_user_errors
def train(
    name: Annotated[str | None, typer.Argument(help="An experiment of `dvae list`.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Train all that the book needs and that is not trained.")
    ] = False,
    profile: Profile = None,
    data: Data = None,
    root_joint: RootJoint = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Trains NAME with another value, as in --set beta=1: a run of its own."),
    ] = None,
    device: Annotated[str, typer.Option(help=f"{', '.join(settings.DEVICES)}.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="How many devices of a node share the batches of NAME.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="How many nodes do.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time with --all; one a core up to four, or one on a GPU.")
    ] = None,
    launcher: Annotated[str, typer.Option(help="With --all: local, or ray to fan out over its cluster.")] = "local",
) -> None:
    """Trains an experiment, or resumes it where it was left."""
    if everything == (name is not None):
        raise UserError("Name one experiment of `dvae list`, or pass --all.")
    _check(launcher, ("local", "ray"), "launcher")
    _check(device, settings.DEVICES, "device")
    from dvae_lib.experiments.experiment import read_assignments
    from dvae_lib.experiments.launch import train_all
    from dvae_lib.experiments.profiles import BOOK
    from dvae_lib.models.objectives import rank_and_world

    if name is not None:
        if jobs or launcher != "local":
            raise UserError("--jobs and --launcher are for --all: leave them out, or pass --all in place of the name.")
        run = _pick(_runs(profile, data, root_joint), name)
        if overrides:
            run = replace(run, experiment=run.experiment.with_overrides(**read_assignments(overrides)))
        run.train(device, devices, nodes)
        if rank_and_world()[0] == 0:
            typer.echo(f"{run.experiment.name} on {' + '.join(run.experiment.data)}: {run.folder}")
        return
    if overrides or devices * nodes > 1:
        raise UserError("--set, --devices and --nodes are for one experiment: name it in place of --all.")
    kinds = [data or settings.data()]
    if not data and settings.is_here("realhand"):  # chapter 12 needs them whatever the others are run on
        kinds.append("realhand")
    chosen = [
        run
        for kind in dict.fromkeys(kinds)
        for run_name, run in _runs(profile, kind, root_joint).items()
        if run_name in BOOK or kind == "realhand"
    ]
    for run in train_all(chosen, device, jobs, launcher):
        typer.echo(f"{run.experiment.name} on {' + '.join(run.experiment.data)}: {run.folder}")


@app.command()
@report_user_errors
def predict(
    images: Annotated[list[Path], typer.Argument(help="Photographs of one hand each.")],
    run: Annotated[str, typer.Option(help="The experiment whose model is asked.")] = "dvae-pose",
    crop: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="LEFT TOP SIDE of a square around the hand, in pixels."),
    ] = None,
    right: Annotated[bool, typer.Option(help="The photographs show right hands.")] = False,
    bone: Annotated[float, typer.Option(help="Length in mm of the middle finger's proximal phalanx.")] = 40.0,
    out: Annotated[Path, typer.Option(help="Folder for the drawings.")] = Path("."),
    profile: Profile = None,
    data: Data = None,
    root_joint: RootJoint = None,
) -> None:
    """Reads the 3D pose of the hand in photographs: a drawing of each, and JSON on standard output."""
    stems = Counter(path.stem for path in set(images))
    if alike := [str(path) for path in images if stems[path.stem] > 1]:
        raise UserError(
            f"{' and '.join(alike)} would be drawn into one file: read them one after another, each with an --out of "
            "its own, or rename one."
        )
    chosen = _pick(_runs(profile, data, root_joint), run)
    if not chosen.trained:
        kind = data or settings.data()
        raise UserError(
            f"No model “{run}” is trained yet on {kind} data: run "
            f"`dvae train {run} --profile {chosen.profile} --data {kind}` first."
        )
    import matplotlib

    matplotlib.use("agg")  # whatever is configured: it may need a screen
    import matplotlib.pyplot as plt

    from dvae_lib import predict as photographs
    from dvae_lib.models import Regressor
    from dvae_lib.plots.hands import use_book_style
    from dvae_lib.plots.photographs import draw_prediction

    model, errors = chosen.load(), chosen.errors
    if isinstance(model, Regressor) or "image" not in errors:
        raise UserError(f"“{run}” is no VAE that reads images: choose another, like dvae-pose or cross-modal.")
    box = photographs.Box(*crop) if crop else None
    answers = []
    reference, e = errors["image"].get("decoder_disagreement"), chosen.experiment
    for prediction in photographs.predict(model, images, e.size, box, right, bone, reference, e.root_joint):
        if prediction.warning:
            typer.secho(prediction.warning, err=True, fg="yellow")
        drawing = out / f"{prediction.path.stem}-pose.png"
        with plt.style.context("default"), atomic_write(drawing) as temporary:  # whatever a matplotlibrc has
            use_book_style()
            figure = draw_prediction(prediction)
            figure.savefig(temporary)
        plt.close(figure)
        answers.append(prediction.as_dict() | {"drawing": str(drawing)})
    typer.echo(json.dumps(answers, indent=1))


@app.command()
@report_user_errors
def study(
    test: Annotated[
        bool, typer.Option("--test", help="Train the reported seeds, and hold each against the test samples.")
    ] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="With --test: the first so many of each.")] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Write down settings, seeds and limits, before the test is opened.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Only say what is done and what is left.")] = False,
    data: Data = None,
    device: Annotated[str, typer.Option(help=f"{', '.join(settings.DEVICES)}.")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Runs at a time, as of `dvae train --all`.")] = None,
) -> None:
    """The study behind the ten claims, as far as it is not done yet: the search for settings, on validation samples."""
    _check(device, settings.DEVICES, "device")
    _check(data, settings.DATASETS, "data")
    if data:
        os.environ["DVAE_DATA"] = data
    if (seeds and not test) or test + register + show > 1:
        raise UserError("Pass one of --test, --register and --show, and --seeds with --test alone.")
    from dvae_lib.experiments import search
    from dvae_lib.experiments import study as whole

    if register:
        whole.register()
    elif test:
        for run in whole.open_test(seeds, device, jobs):
            typer.echo(f"{run.experiment.name}, seed {run.experiment.seed}: {whole.path(run)}")
    elif not show:
        for trial in search.run_searches(device, jobs):
            values = ", ".join(f"{name} {_text(value)}" for name, value in trial["values"].items())
            typer.echo(f"{trial['name']}, {values}: {trial['error']:.4g}")
    typer.echo(whole.progress())


@app.command()
@report_user_errors
def report(
    out: Annotated[Path | None, typer.Option("--json", help="A file for all of it, as JSON.")] = None,
    data: Data = None,
) -> None:
    """The papers' figures, tables and claims against the study. The exit status is 1 if a claim fails."""
    _check(data, settings.DATASETS, "data")
    if data:
        os.environ["DVAE_DATA"] = data
    from dvae_lib.report.report import report as make

    result = make()
    for claim in result.claims:
        typer.secho(f"{claim.number}. {claim.text} {claim.verdict.upper()}", bold=True)
        for measure in claim.measures:
            typer.echo(f"   {measure.answer():5}{measure.what}: {measure}")
    for row in result.rows:
        numbers = f"   {row.ours} (printed: {row.printed})" if row.printed else ""
        typer.echo(f"{row.item.printed:28}{row.item.label:28}{row.verdict}{numbers}")
    if out:
        write_json(out, result.as_dict())
    if result.open:
        typer.echo(f"Open, as intervals contain their limits: {', '.join(map(str, result.open))}.")
    if result.waiting:
        typer.echo(
            f"Without a verdict yet: {', '.join(map(str, result.waiting))}. `dvae study --test` trains the rest."
        )
    if result.failed:
        raise UserError(f"Of the ten claims these fail: {', '.join(map(str, result.failed))}.")
