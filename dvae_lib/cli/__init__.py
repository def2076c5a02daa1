"""The command `dvae` and its subcommands."""

from dvae_lib.cli.application import app, main, report_user_errors
from dvae_lib.cli.data import check, download
from dvae_lib.cli.training import list_, show, train

from dvae_lib.cli.asking import predict, report, study  # isort: skip  # in the order of the help

__all__ = [
    "app",
    "check",
    "download",
    "list_",
    "main",
    "predict",
    "report",
    "report_user_errors",
    "show",
    "study",
    "train",
]
