"""Sharing trained runs: packs them into one zip file, and imports it with checks (`dvae pack-runs`, `fetch-runs`).

A pack contains the folders of runs as in DVAE_RUNS_ROOT, <profile>/<name>-<hash>/, and `manifest.json` with the sha256
of every file. It contains only safetensors and JSON, from which no code can be executed.
"""

import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from dvae_lib import settings
from dvae_lib.downloads.archive import unpack
from dvae_lib.downloads.fetch import fetch, verify
from dvae_lib.experiments.run import CONFIG, ERRORS, EVALUATION, PROVENANCE, Run, folder_of
from dvae_lib.files import UserError, atomic_write, read_json, sha256, write_json
from dvae_lib.training.checkpoints import METRICS, WEIGHTS

MANIFEST = "manifest.json"
_FILES = (CONFIG, PROVENANCE, EVALUATION, ERRORS, WEIGHTS, METRICS)
_NAME = re.compile(rf"[\w-]+/[\w-]+-[0-9a-f]{{8}}/({'|'.join(map(re.escape, _FILES))})|{re.escape(MANIFEST)}")


def pack_runs(runs: Iterable[Run], out: Path) -> None:
    """Writes trained runs into a zip file. Raises UserError if one is not trained."""
    names: dict[str, Path] = {}
    for run in runs:
        if not run.trained:
            raise UserError(f"{run.experiment.name} is not trained: run `dvae train {run.experiment.name}` first.")
        names |= {f"{run.profile}/{run.folder.name}/{name}": run.folder / name for name in _FILES}
    with atomic_write(out) as temporary, tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / MANIFEST
        write_json(manifest, {name: sha256(path) for name, path in names.items()})
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for name, path in [*names.items(), (MANIFEST, manifest)]:
                archive.write(path, name)


def fetch_runs(source: str) -> list[Run]:
    """Imports the runs of a pack, which is a zip file, a folder of its unpacked content or a URL. Returns all of them.

    Runs that are already trained here are not changed. Raises UserError, before anything is imported, if a file is
    damaged, missing or not part of a run, and if a run is of another version of the library or of another recipe of its
    data.
    """
    root = settings.runs_root()
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".incoming-") as name:
        folder = _arrived(source, Path(name))
        arrived = [_checked(path.parent) for path in sorted(folder.glob(f"*/*/{CONFIG}"))]
        for run in arrived:
            target = folder_of(run.experiment.name, run.config, run.profile)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(run.folder, target)
    return [Run(run.experiment, run.profile) for run in arrived]


def _arrived(source: str, incoming: Path) -> Path:
    """A folder in `incoming` with all files of a pack, each verified with the manifest."""
    folder, path = incoming / "unpacked", Path(source)
    if path.is_dir():
        shutil.copytree(path, folder, ignore=lambda at, names: [n for n in names if not _known(Path(at), path, n)])
    else:
        if source.startswith(("http://", "https://")):
            path = incoming / "runs.zip"
            fetch(source, path, progress=True)
        unpack([path], folder, lambda _, name: name if _NAME.fullmatch(name) else None)
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{source} contains no {MANIFEST}: it is not a pack of runs, as written by `dvae pack-runs`.")
    hashes = {name: digest for name, digest in read_json(folder / MANIFEST).items() if _NAME.fullmatch(name)}
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()} - {MANIFEST}
    missing, damaged = verify(folder, hashes)
    if wrong := [*missing, *damaged, *sorted(there - set(hashes))]:
        raise UserError(
            f"{source} is not valid: {', '.join(wrong[:3])} is missing, damaged or not in its {MANIFEST}. Nothing was "
            "imported; fetch it again."
        )
    return folder


def _known(at: Path, root: Path, name: str) -> bool:
    """Whether a folder's entry may belong to a pack; links are not followed."""
    path = at / name
    relative = path.relative_to(root).as_posix()
    return not path.is_symlink() and (path.is_dir() or bool(_NAME.fullmatch(relative)))


def _checked(folder: Path) -> Run:
    run = Run.open(folder)
    if folder_of(run.experiment.name, run.config).name != folder.name or run.profile != folder.parent.name:
        raise UserError(f"{folder.parent.name}/{folder.name} does not match its {CONFIG}. Nothing was imported.")
    run.load()  # checks that the weights fit the model
    return run
