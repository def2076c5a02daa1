"""Commands that use trained models: predictions, the study, and the report on the paper's claims."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

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
from dvae_lib.files import UserError, write_json


@app.command()
@report_user_errors
def predict(
    images: Annotated[list[Path], typer.Argument(help="Photographs, or folders of them.")],
    run: Annotated[str, typer.Option(help="The experiment whose model is used.")] = "dvae-pose",
    via: Annotated[
        str | None,
        typer.Option(help="Input of the model: image, or keypoints, the default if the hand detector is installed."),
    ] = None,
    crop: Annotated[
        tuple[float, float, float] | None,
        typer.Option(help="LEFT TOP SIDE in pixels of a square around one hand, in place of the detected hands."),
    ] = None,
    right: Annotated[
        bool | None, typer.Option("--right/--left", help="Side of the hands, in place of the detected side.")
    ] = None,
    bone: Annotated[float, typer.Option(help="Length in mm of the middle finger's proximal phalanx.")] = 40.0,
    out: Annotated[Path, typer.Option(help="Folder for the drawings.")] = Path("poses"),
    profile: Profile = None,
    data: Data = None,
    root_joint: RootJoint = None,
) -> None:
    """Detects the hands in photographs and predicts their 3D poses: a line of JSON for each hand, and a drawing of each
    photograph. The exit status is 1 if a photograph could not be processed.
    """
    if via not in (None, "image", "keypoints"):
        raise UserError(f"“{via}” is not a value of --via: choose image or keypoints.")
    chosen = pick(known_runs(profile, data, root_joint), run)
    if not chosen.trained:
        kind = data or settings.data()
        raise UserError(
            f"The model “{run}” is not trained on {kind} data yet: run "
            f"`dvae train {run} --profile {chosen.profile} --data {kind}` first."
        )
    import matplotlib

    matplotlib.use("agg")  # the configured backend may need a display
    from dvae_lib import predict as photographs
    from dvae_lib.detect import Detector, is_ready
    from dvae_lib.models import Regressor
    from dvae_lib.plots import drawings

    model, errors, e = chosen.load(), chosen.errors, chosen.experiment
    if isinstance(model, Regressor) or "image" not in errors:
        raise UserError(f"“{run}” is not a VAE with an image encoder: choose another, like dvae-pose or cross-modal.")
    if via == "keypoints" and "keypoints" not in errors:
        raise UserError(f"“{run}” has no keypoint encoder: choose another, like dvae-pose, or --via image.")
    photographs.check_bone(bone)
    paths = drawings.inputs(images)
    targets = drawings.targets(paths, out)
    detector = Detector() if is_ready() or via == "keypoints" else None
    way: photographs.Via = "keypoints" if via != "image" and detector and "keypoints" in errors else "image"
    box = photographs.Box(*crop) if crop else None
    reference, bad, drawn = errors[way].get("decoder_disagreement"), 0, []
    for path, target in tqdm(
        zip(paths, targets, strict=True), total=len(paths), unit="photograph", disable=len(paths) < 3
    ):
        try:
            sights = photographs.look(path, e.size, detector, box, right)
            predictions = photographs.predict(model, sights, way, bone, reference, e.root_joint)
            drawings.save(predictions, target)
        except UserError as error:
            bad += 1
            tqdm.write(typer.style(str(error), fg="red"), file=sys.stderr)
            continue
        for prediction in predictions:
            if prediction.warning:
                tqdm.write(typer.style(prediction.warning, fg="yellow"), file=sys.stderr)
            tqdm.write(json.dumps(prediction.as_dict() | {"drawing": str(target)}), file=sys.stdout)
        drawn.append(target)
    if len(drawn) > 1:
        typer.echo(f"All drawings: {drawings.save_sheet(drawn, out)}", err=True)
    if bad:
        raise UserError(f"{bad} of {len(paths)} photographs could not be processed.")


@app.command()
@report_user_errors
def study(
    test: Annotated[
        bool, typer.Option("--test", help="Train the reported seeds, and evaluate each on the test samples.")
    ] = False,
    seeds: Annotated[int | None, typer.Option(min=1, help="With --test: only so many seeds of each.")] = None,
    register: Annotated[
        bool, typer.Option("--register", help="Fix settings, seeds and thresholds, before the test set is evaluated.")
    ] = False,
    show: Annotated[bool, typer.Option("--show", help="Only show what is done and what remains.")] = False,
    data: Data = None,
    device: Annotated[str, typer.Option(help=f"{', '.join(settings.DEVICES)}.")] = "auto",
    jobs: Annotated[int | None, typer.Option(min=1, help="Parallel runs, as in `dvae train --all`.")] = None,
) -> None:
    """Continues the study behind the ten claims; by default with the search for settings on validation samples."""
    check_choice(device, settings.DEVICES, "device")
    if (seeds and not test) or test + register + show > 1:
        raise UserError("Pass only one of --test, --register and --show, and --seeds only with --test.")
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
    out: Annotated[Path | None, typer.Option("--json", help="File for the whole report as JSON.")] = None,
    data: Data = None,
) -> None:
    """Compares the papers' figures, tables and claims with the study. The exit status is 1 if a claim fails."""
    from dvae_lib.report.report import report as make

    with data_chosen(data):
        result = make()
    for claim in (*result.claims, *result.on_photographs):
        typer.secho(f"{claim.number}. {claim.text} {claim.verdict.upper()}, on {claim.where}", bold=True)
        for measure in claim.measures:
            typer.echo(f"   {measure.answer():5}{measure.what}: {measure}")
    for row in result.rows:
        numbers = f"   {row.ours} (printed: {row.printed})" if row.printed else ""
        typer.echo(f"{row.item.printed:28}{row.item.label:28}{row.verdict}{numbers}")
    if out:
        write_json(out, result.as_dict())
    if result.open:
        typer.echo(f"Open, because intervals contain their thresholds: {', '.join(map(str, result.open))}.")
    if result.waiting:
        typer.echo(
            f"Without a verdict yet: {', '.join(map(str, result.waiting))}. `dvae study --test` trains the rest."
        )
    if result.failed:
        raise UserError(f"These of the ten claims fail: {', '.join(map(str, result.failed))}.")
