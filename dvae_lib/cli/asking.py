"""Commands that ask what was trained: for a pose, for the paper's claims."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from dvae_lib import settings
from dvae_lib.cli.application import (
    Data,
    Profile,
    RootJoint,
    app,
    check_choice,
    data_chosen,
    known_runs,
    pick,
    report_user_errors,
)
from dvae_lib.cli.training import text_of
from dvae_lib.files import UserError, atomic_write, write_json


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
    chosen = pick(known_runs(profile, data, root_joint), run)
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
    check_choice(device, settings.DEVICES, "device")
    if (seeds and not test) or test + register + show > 1:
        raise UserError("Pass one of --test, --register and --show, and --seeds with --test alone.")
    from dvae_lib.experiments import search
    from dvae_lib.experiments import study as whole

    with data_chosen(data):
        if register:
            whole.register()
        elif test:
            for run in whole.open_test(seeds, device, jobs):
                typer.echo(f"{run.experiment.name}, seed {run.experiment.seed}: {whole.path(run)}")
        elif not show:
            for trial in search.run_searches(device, jobs):
                values = ", ".join(f"{name} {text_of(value)}" for name, value in trial["values"].items())
                typer.echo(f"{trial['name']}, {values}: {trial['error']:.4g}")
        typer.echo(whole.progress())


@app.command()
@report_user_errors
def report(
    out: Annotated[Path | None, typer.Option("--json", help="A file for all of it, as JSON.")] = None,
    data: Data = None,
) -> None:
    """The papers' figures, tables and claims against the study. The exit status is 1 if a claim fails."""
    from dvae_lib.report.report import report as make

    with data_chosen(data):
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
