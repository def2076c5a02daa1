"""Shared by the commands: the application, common options, and the output of user errors."""

import functools
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from dvae_lib import __version__, settings
from dvae_lib.files import UserError, printable

HELP = "Disentangled VAEs of hands: data, training, predictions, and the study of the paper's claims."

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=HELP)

Profile = Annotated[str | None, typer.Option(help=f"{', '.join(settings.PROFILES)}; default: DVAE_PROFILE.")]
Data = Annotated[str | None, typer.Option(help=f"{', '.join(settings.DATASETS)}, or your own; default: DVAE_DATA.")]
DataSet = Annotated[str, typer.Argument(help=f"One of {', '.join(settings.DOWNLOAD)}.")]
RootJoint = Annotated[
    str | None, typer.Option("--root", help="Root joint of the poses: palm or wrist; default: DVAE_ROOT_JOINT.")
]


def report_user_errors(command):
    """Prints a UserError, which the user can correct, as a message without a traceback."""

    @functools.wraps(command)
    def wrapper(*args, **kwargs):
        try:
            return command(*args, **kwargs)
        except UserError as error:
            # File names and external text in the message must not affect the terminal.
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
    """Runs the command. Characters that the output's encoding lacks become question marks."""
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    app()


def check_choice(value: str | None, allowed: tuple[str, ...], what: str) -> None:
    if value is not None and value not in allowed:
        raise UserError(f"There is no {what} “{value}”: choose one of {', '.join(allowed)}.")


def known_runs(profile: str | None, data: str | None, root_joint: str | None) -> dict:
    from dvae_lib.experiments.run import every_run  # torch takes seconds to import; --help should not

    check_choice(profile, settings.PROFILES, "profile")
    check_choice(data, settings.known_data(), "data")
    check_choice(root_joint, settings.ROOT_JOINTS, "root joint")
    return every_run(profile, data, root_joint)


def pick(runs: dict, name: str):
    if name not in runs:
        raise UserError(f"There is no experiment “{name}”: choose one of {', '.join(runs)}.")
    return runs[name]


@contextmanager
def data_chosen(data: str | None) -> Iterator[None]:
    """`settings.chosen`, after a check that the data exist."""
    check_choice(data, settings.known_data(), "data")
    with settings.chosen(data):
        yield
