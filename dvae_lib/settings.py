"""Folders, the active profile and other settings: every environment variable that the library reads.

| variable | meaning | default |
|---|---|---|
| `DVAE_PROFILE` | size of runs: `smoke` (seconds), `laptop` (minutes), `study` (hours), `full` (GPU) | `laptop` |
| `DVAE_DATA` | data: `synthetic`, `stb` or `rhd`; for commands also `realhand`, `digits` and your own | `synthetic` |
| `DVAE_ROOT_JOINT` | the root joint, which poses are relative to: `palm` or `wrist` | `palm` |
| `DVAE_DATA_ROOT` | folder of the downloaded data sets | `data` |
| `DVAE_CACHE_ROOT` | folder of the prepared arrays | `cache` |
| `DVAE_RUNS_ROOT` | folder of the trained runs | `runs` |
| `DVAE_STUDY_ROOT` | folder of the study's results | `results/study` |

An empty variable counts as not set. A relative folder, such as the defaults, is relative to the checkout, whatever the
working directory is, so that commands, chapters and workers use the same one; if the package is installed without a
checkout, it is relative to the working directory of the process that imports it first, which passes it to its workers.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, cast

from dvae_lib.files import UserError

PROFILES = ("smoke", "laptop", "study", "full")
DATASETS = ("synthetic", "stb", "rhd", "realhand", "digits")
ROOT_JOINTS = ("palm", "wrist")
DEVICES = ("auto", "cpu", "cuda", "mps")
DOWNLOAD = {  # the commands that fetch missing or incomplete data
    "realhand": "dvae download realhand --accept-licence",
    "digits": "dvae download digits",
    "detector": "dvae download detector",
    "camera": "dvae download camera",
    "rhd": "dvae download rhd --accept-licence",
    "stb": "dvae download stb",
}

LABELS = "hands.npz"  # the file that marks a folder as a data set of `dvae label`

_checkout = Path(__file__).resolve().parents[1]
ROOT = _checkout if (_checkout / "pyproject.toml").exists() else Path.cwd()


def _choice(variable: str, default: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(variable) or default
    if value not in allowed:
        raise UserError(f"{variable} is “{value}”, which is unknown: set it to one of {', '.join(allowed)}.")
    return value


def profile() -> str:
    return _choice("DVAE_PROFILE", "laptop", PROFILES)


def data() -> str:
    return _choice("DVAE_DATA", "synthetic", known_data())


@contextmanager
def chosen(data: str | None) -> Iterator[None]:
    """Inside the with block, DVAE_DATA is `data`, if it is given."""
    before = os.environ.get("DVAE_DATA")
    if data:
        os.environ["DVAE_DATA"] = data
    try:
        yield
    finally:
        if data and before is None:
            del os.environ["DVAE_DATA"]
        elif data and before is not None:
            os.environ["DVAE_DATA"] = before


def known_data() -> tuple[str, ...]:
    """All data sets available to experiments: the book's, and those made here by `dvae label`."""
    own = sorted(path.parent.name for path in data_root().glob(f"*/{LABELS}")) if data_root().is_dir() else []
    return (*DATASETS, *own)


def root_joint() -> Literal["palm", "wrist"]:
    return cast(Literal["palm", "wrist"], _choice("DVAE_ROOT_JOINT", "palm", ROOT_JOINTS))


def _folder(variable: str, default: str) -> Path:
    return ROOT / Path(os.environ.get(variable) or default).expanduser()


def data_root() -> Path:
    return _folder("DVAE_DATA_ROOT", "data")


def downloaded(name: str) -> Path:
    """The folder of the files that `dvae download` fetches under this name."""
    return data_root() / {"detector": "mediapipe"}.get(name, name)


def cache_root() -> Path:
    return _folder("DVAE_CACHE_ROOT", "cache")


def runs_root() -> Path:
    return _folder("DVAE_RUNS_ROOT", "runs")


def study_root() -> Path:
    return _folder("DVAE_STUDY_ROOT", "results/study")


def environment() -> dict[str, str]:
    """The current values of these variables, with absolute folders, for a process with another working directory."""
    return {
        "DVAE_PROFILE": profile(),
        "DVAE_DATA": data(),
        "DVAE_ROOT_JOINT": root_joint(),
        "DVAE_DATA_ROOT": str(data_root()),
        "DVAE_CACHE_ROOT": str(cache_root()),
        "DVAE_RUNS_ROOT": str(runs_root()),
        "DVAE_STUDY_ROOT": str(study_root()),
    }


def is_here(data: str) -> bool:
    """Whether the data set of this name requires no download: it is on disk, or it is rendered."""
    return data.startswith("synth") or (data_root() / data).is_dir()
