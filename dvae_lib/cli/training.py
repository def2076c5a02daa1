"""Commands that list, show and train experiments."""

from dataclasses import asdict, is_dataclass, replace
from typing import Annotated, Any

import typer

from dvae_lib import settings
from dvae_lib.cli.application import Data, Profile, RootJoint, app, check_choice, known_runs, pick, report_user_errors
from dvae_lib.files import UserError


@app.command("list")
@report_user_errors
def list_(profile: Profile = None, data: Data = None, root_joint: RootJoint = None) -> None:
    """Lists all experiments: data, size in this profile, and whether they are trained."""
    for name, run in known_runs(profile, data, root_joint).items():
        e = run.experiment
        state = "trained" if run.trained else "not trained"
        pixels = f"{e.size} px" if e.size else "no image"
        typer.echo(f"{name:28}{' + '.join(e.data):32}{pixels:>8} {e.steps:7} steps   {state:12}{e.about}")


def text_of(value: Any) -> str:
    """A value of an experiment, formatted for display."""
    if is_dataclass(value):
        value = {name: item for name, item in asdict(value).items() if item}
    if isinstance(value, dict):
        return ", ".join(f"{name} {text_of(item)}" for name, item in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(text_of, value)) or "none"
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
    """Shows all values of an experiment; where one differs from the paper's, also the paper's value and the reason."""
    run = pick(known_runs(profile, data, root_joint), name)
    e = run.experiment
    typer.secho(f"{name}, {e.kind}, in the profile {run.profile}: {e.about}", bold=True)
    effective = {"lambdas": "effective_lambdas", "beta": "effective_beta"}
    for setting, value in e.values().items():
        notes, (printed, place) = [], e.paper.get(setting, (value, ""))
        if printed != value:
            notes.append(f"the paper has {text_of(printed)} ({place})")
        if setting in e.reasons:
            notes.append(e.reasons[setting])
        typer.echo(f"  {setting:22}{text_of(value):44}{'; '.join(notes)}".rstrip())
        if setting in effective and getattr(e, "resolution", 256) != 256:
            scaled = f"× ({e.resolution} / 256)²" + (", except for images" if setting == "lambdas" else "")
            typer.echo(f"  {'  in effect':22}{text_of(getattr(e, effective[setting])):44}{scaled}")
    stages = ", then ".join(f"{stage.steps} steps “{stage.name}”" for stage in e.stages if stage.steps)
    typer.echo(f"  {'stages':22}{stages}")
    typer.echo(f"  {'folder':22}{run.folder} ({'trained' if run.trained else 'not trained'})")


@app.command()
@report_user_errors
def train(
    name: Annotated[str | None, typer.Argument(help="An experiment of `dvae list`.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Train all runs that the book needs and that are not trained.")
    ] = False,
    profile: Profile = None,
    data: Data = None,
    root_joint: RootJoint = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", help="Train NAME with another value, for example --set beta=1, as a separate run."),
    ] = None,
    device: Annotated[str, typer.Option(help=f"{', '.join(settings.DEVICES)}.")] = "auto",
    devices: Annotated[int, typer.Option(min=1, help="Devices per node that share the batches of NAME.")] = 1,
    nodes: Annotated[int, typer.Option(min=1, help="Number of nodes.")] = 1,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Parallel runs with --all; default: one per core up to 4, one on a GPU.")
    ] = None,
    launcher: Annotated[str, typer.Option(help="With --all: local, or ray to use a Ray cluster.")] = "local",
) -> None:
    """Trains an experiment, or resumes it where it stopped."""
    if everything == (name is not None):
        raise UserError("Name one experiment of `dvae list`, or pass --all.")
    check_choice(launcher, ("local", "ray"), "launcher")
    check_choice(device, settings.DEVICES, "device")
    from dvae_lib.experiments.experiment import read_assignments
    from dvae_lib.experiments.launch import train_all
    from dvae_lib.experiments.profiles import BOOK
    from dvae_lib.models.objectives import rank_and_world

    if name is not None:
        if jobs or launcher != "local":
            raise UserError("--jobs and --launcher require --all: omit them, or pass --all instead of a name.")
        run = pick(known_runs(profile, data, root_joint), name)
        if overrides:
            run = replace(run, experiment=run.experiment.with_overrides(**read_assignments(overrides)))
        run.train(device, devices, nodes)
        if rank_and_world()[0] == 0:
            typer.echo(f"{run.experiment.name} on {' + '.join(run.experiment.data)}: {run.folder}")
        return
    if overrides or devices * nodes > 1:
        raise UserError("--set, --devices and --nodes require one experiment: name it instead of passing --all.")
    kinds = [data or settings.data()]
    if not data and settings.is_here("realhand"):  # chapter 12 needs them, whatever data the others use
        kinds.append("realhand")
    chosen = [
        run
        for kind in dict.fromkeys(kinds)
        for run_name, run in known_runs(profile, kind, root_joint).items()
        if run_name in BOOK or (kind == "realhand" and all(map(settings.is_here, run.experiment.data)))
    ]
    for run in train_all(chosen, device, jobs, launcher):
        typer.echo(f"{run.experiment.name} on {' + '.join(run.experiment.data)}: {run.folder}")
