"""Runs the chapters again when what they show has changed.

The execution cache knows a chapter by its code alone, but its page also shows
the library, the data and the trained runs. So the cache's folder is named after
a fingerprint of those: when one changes, the new cache is empty, and as MyST-NB
counts the folder's name among the things that every page depends on, Sphinx
reads every page anew.
"""

import hashlib
import shutil
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

import dvae_lib
from dvae_lib import settings


def fingerprint() -> str:
    digest = hashlib.sha256(f"{settings.profile()} {settings.data()}".encode())
    package = Path(dvae_lib.__file__).parent
    runs = settings.runs_root() / settings.profile()
    shown = (
        (package, "**/*.py"),
        (package, "*.json"),
        (package, "explorer/explorer.*"),
        (settings.ROOT / "results", "*.json"),
        (runs, "*/evaluation.json"),
    )
    for folder, pattern in shown:
        for path in sorted(folder.glob(pattern)):
            name = path.relative_to(folder).as_posix().encode()
            digest.update(name + b"\0" + path.read_bytes() + b"\0")
    # The name of a prepared data set's folder holds a hash of its recipe.
    for manifest in sorted(settings.cache_root().glob("*/manifest.json")):
        digest.update(manifest.parent.name.encode())
    return digest.hexdigest()[:16]


def choose_cache(app: Sphinx, config: Config) -> None:
    caches = Path(app.outdir).parent / ".jupyter_cache"
    current = caches / fingerprint()
    for other in caches.glob("*"):
        if other != current:
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    config.nb_execution_cache_path = str(current)


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", choose_cache)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
