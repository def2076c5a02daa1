"""Where things live and which profile is in force: every environment variable that the library reads.

| variable | meaning | default |
|---|---|---|
| `DVAE_PROFILE` | size of runs: `smoke` (seconds), `laptop` (minutes), `study` (hours), `full` (GPU) | `laptop` |
| `DVAE_DATA` | data: `synthetic`, `stb` or `rhd`; for commands `realhand`, `digits`, and your own too | `synthetic` |
| `DVAE_ROOT_JOINT` | what poses are relative to, and measured from: `palm` or `wrist` | `palm` |
| `DVAE_DATA_ROOT` | folder of the downloaded data sets | `data` |
| `DVAE_CACHE_ROOT` | folder of the prepared arrays | `cache` |
| `DVAE_RUNS_ROOT` | folder of the trained runs | `runs` |
| `DVAE_STUDY_ROOT` | folder of what the study found | `results/study` |

A variable that is empty counts as not set. A relative folder, as the defaults are, lies in the checkout whatever the
working folder is, so that commands, chapters and workers mean the same one; where the package is installed without a
checkout, it lies in the working folder of the process that imports it first, which its workers are told.
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
DOWNLOAD = {  # what fetches data that are not here, or not whole
    "realhand": "dvae download realhand --accept-licence",
    "digits": "dvae download digits",
    "detector": "dvae download detector",
    "camera": "dvae download camera",
    "rhd": "dvae download rhd --accept-licence",
    "stb": "dvae download stb",
}

LABELS = "hands.npz"  # what makes a folder a data set of `dvae label`

_checkout = Path(__file__).resolve().parents[1]
ROOT = _checkout if (_checkout / "pyproject.toml").exists() else Path.cwd()


def _choice(variable: str, default: str, allowed: tuple[str, ...]) -> str:
    value = os.environ.get(variable) or default
    if value not in allowed:
        raise UserError(f"{variable} is “{value}”, which is not known: set it to one of {', '.join(allowed)}.")
    return value


def profile() -> str:
    return _choice("DVAE_PROFILE", "laptop", PROFILES)


def data() -> str:
    return _choice("DVAE_DATA", "synthetic", known_data())


@contextmanager
def chosen(data: str | None) -> Iterator[None]:
    """Within, DVAE_DATA is this, if it is given."""
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
    """All data that experiments can have: the book's, and what `dvae label` has made here."""
    own = sorted(path.parent.name for path in data_root().glob(f"*/{LABELS}")) if data_root().is_dir() else []
    return (*DATASETS, *own)


def root_joint() -> Literal["palm", "wrist"]:
    return cast(Literal["palm", "wrist"], _choice("DVAE_ROOT_JOINT", "palm", ROOT_JOINTS))


def _folder(variable: str, default: str) -> Path:
    return ROOT / Path(os.environ.get(variable) or default).expanduser()


def data_root() -> Path:
    return _folder("DVAE_DATA_ROOT", "data")


def downloaded(name: str) -> Path:
    """The folder of what `dvae download` has fetched under this name."""
    return data_root() / {"detector": "mediapipe"}.get(name, name)


def cache_root() -> Path:
    return _folder("DVAE_CACHE_ROOT", "cache")


def runs_root() -> Path:
    return _folder("DVAE_RUNS_ROOT", "runs")


def study_root() -> Path:
    return _folder("DVAE_STUDY_ROOT", "results/study")


def environment() -> dict[str, str]:
    """All of these variables as they are in force, their folders absolute: for a process that works elsewhere."""
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
    """Whether the data of this name need no download any more; the rendered ones never do."""
    return data.startswith("synth") or (data_root() / data).is_dir()
