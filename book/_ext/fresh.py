"""Runs the chapters again when their contents have changed.

The execution cache identifies a chapter by its code only, but its page also
depends on the library, the data and the trained runs. So the cache's folder is
named after a fingerprint of those: when one changes, the new cache is empty,
and since in MyST-NB every page depends on the name of that folder, Sphinx
reads every page again.
"""

import hashlib
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import dvae_lib
from dvae_lib import settings


def _digest(*shown: tuple[Path, str]) -> str:
    """The hash of the files that match, given by folder and pattern."""
    digest = hashlib.sha256()
    for folder, pattern in shown:
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix().encode()
            digest.update(name + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def fingerprint() -> str:
    package = Path(dvae_lib.__file__).parent
    of_library = _digest(
        (package, "**/*.py"),
        (package, "report/*.json"),
        (package, "explorer/*.*s"),
        (settings.ROOT / "results", "*.json"),
        (settings.study_root(), "**/*.json"),
    )
    runs = settings.runs_root() / settings.profile()
    # The manifest of a prepared data set contains its recipe.
    of_data = _digest(
        (runs, "*/evaluation.json"), (settings.cache_root(), "*/manifest.json")
    )
    chosen = settings.profile(), settings.data(), settings.root_joint()
    return "-".join((*chosen, of_library, of_data))


def choose_cache(app: Sphinx, config: Config) -> None:
    caches = Path(app.outdir).parent / ".jupyter_cache"
    current = caches / fingerprint()
    for other in caches.glob("*"):
        if other != current:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    config.nb_execution_cache_path = str(current)


def keep_cache(app: Sphinx, exception: Exception | None) -> None:
    """Keeps the cache valid after chapters train runs or prepare data."""
    used = Path(app.config.nb_execution_cache_path)
    now = used.with_name(fingerprint())
    same_library = used.name.rpartition("-")[0] == now.name.rpartition("-")[0]
    if exception is None and same_library and used.is_dir() and used != now:
        used.rename(now)


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", choose_cache)
    app.connect("build-finished", keep_cache)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
