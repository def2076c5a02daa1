"""Unpacks zip archives safely: nothing outside the folder, nothing overwritten, no incomplete files.

A zip file can have members whose names lead out of the target folder, contain links, or expand until the disk is full.
All members to be unpacked are checked before the first byte is written; members that the data set does not need are not
unpacked. Files then appear under their names one by one, each only when it is complete and has the checksum (CRC-32)
stored in the archive, so that a killed run can be resumed.
"""

import contextlib
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tqdm import tqdm

from dvae_lib.files import UserError, check_room, explain_os_errors, printable

MAX_FILES, MAX_BYTES = 10**6, 2 * 10**11  # of one call; STB, the largest data set, has 72 024 files, about 50 GB
MAX_RATIO = 100  # unpacked size over packed size; images and labels stay below 5, and deflate below 1033
SMALL = 1 << 20  # bytes; a smaller file may have any ratio
UNFINISHED = ".unpacking"  # suffix of a file that is being written
_CLUSTER = 4096  # bytes; a file occupies whole clusters on disk
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks others into memory without a limit
_ENCRYPTED = 0x1  # bit of a member's flags
# Names that Windows interprets otherwise: devices, drives, streams, and names that end in a dot or a space.
_FALSE_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)( *\.|$)|.*:|.*[. ]$|$", re.IGNORECASE)
_ADVICE = "Make sure that the archive comes from the data set's authors, and fetch it again."

Place = Callable[[Path, str], str | None]


class _Member(NamedTuple):
    path: Path  # of the archive
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo

    @property
    def size(self) -> int:
        return self.info.file_size

    def __str__(self) -> str:
        return f"“{printable(self.info.filename)}”"

    def refused(self, reason: str, advice: str = _ADVICE) -> UserError:
        return UserError(f"{self.path} was not unpacked: {self} in it {reason}. Nothing was written. {advice}")


def unpack(archives: Sequence[Path], folder: Path, place: Place, progress: bool = True) -> int:
    """Unpacks zip archives into `folder`; returns the number of new files.

    place: maps an archive and the name of a file in it (with “/” between folders) to the file's path below `folder`, or
    to None to leave it out.

    Raises UserError, before anything is written, if a file is not an archive or is truncated, if a member's name leads
    out of the folder, if a member to be unpacked is a link, a device or a zip bomb, if a different file already exists
    under its name, or if the disk is too full; and later, if a member is damaged or the disk fills up. Existing files
    are never changed, and files that have been unpacked are kept.
    """
    with contextlib.ExitStack() as stack:
        opened = [(path, stack.enter_context(_open(path))) for path in archives]
        members = {folder / target: member for target, member in _plan(opened, place).items()}
        total = sum(member.size for member in members.values())
        bar = stack.enter_context(tqdm(total=total, desc="Unpacking", unit="B", unit_scale=True, disable=not progress))
        wanted = _not_there_yet(members, bar)
        check_room(folder, sum(-(-member.size // _CLUSTER) * _CLUSTER for member in wanted.values()))
        for target, member in wanted.items():
            _write(member, target)
            bar.update(member.size)
    return len(wanted)


def _open(path: Path) -> zipfile.ZipFile:
    if not path.is_file():
        raise UserError(f"{path} does not exist, or is not a file.")
    try:
        return zipfile.ZipFile(path)
    except PermissionError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}).") from error
    except Exception as error:  # a damaged directory can raise any exception
        raise UserError(
            f"{path} is not a zip archive, or is incomplete ({printable(str(error))}), for example because its "
            "download was interrupted. Delete it and fetch it again. Nothing was unpacked."
        ) from error


def _plan(opened: list[tuple[Path, zipfile.ZipFile]], place: Place) -> dict[str, _Member]:
    """The members to unpack, by their paths below the folder."""
    plan: dict[str, _Member] = {}
    for path, archive in opened:
        placed = list(_placed(path, archive, place))
        if not placed:
            raise UserError(f"{path} contains no file of the data set: leave it out. Nothing was unpacked.")
        for target, member in placed:
            other = plan.setdefault(target, member)
            if (other.info.CRC, other.size) != (member.info.CRC, member.size):
                raise member.refused(f"has the same destination as another file, {other} of {other.path.name}")
    seen: dict[str, str] = {}
    folders = {str(above) for target in plan for above in PurePosixPath(target.casefold()).parents}
    for target, member in plan.items():
        first = seen.setdefault(target.casefold(), target)
        if first != target or target.casefold() in folders:  # equal on Windows and macOS, or a file as a folder
            raise member.refused(f"has the same name as another file or folder (“{first}”)")
    total = sum(member.size for member in plan.values())
    if len(plan) > MAX_FILES or total > MAX_BYTES:
        raise UserError(
            f"{', '.join(str(path) for path, _ in opened)} would unpack to {len(plan)} files, {total / 1e9:.0f} GB in "
            "total, more than any data set of hands, and was not unpacked. Fetch it again from its source."
        )
    return plan


def _placed(path: Path, archive: zipfile.ZipFile, place: Place) -> Iterator[tuple[str, _Member]]:
    """The members of an archive that are to be unpacked, each with its destination.

    Other members are not written, so they are not checked. A name that leads out of the folder is always refused: no
    data set has one, and `place` must not be misled.
    """
    for info in archive.infolist():
        member, name = _Member(path, archive, info), info.filename.replace("\\", "/")  # some Windows programs write \
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if parts and (name.startswith("/") or ".." in parts):
            raise member.refused("leads out of the folder it is unpacked in")
        target = place(path, "/".join(parts)) if parts and not name.endswith("/") else None
        if target is None:
            continue
        if reason := _danger(target, info):
            raise member.refused(reason)
        if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
            raise member.refused(
                "is encrypted or packed with an unsupported method",
                "Unpack it with another program, such as 7-Zip, into a folder of its own.",
            )
        yield target, member


def _danger(target: str, info: zipfile.ZipInfo) -> str | None:
    """The reason not to unpack a member to `target`, for which the whole archive is refused; None if there is none."""
    if not target.isprintable() or len(target.encode()) > 200 or any(map(_FALSE_NAME.match, target.split("/"))):
        return "has a name that is not valid on every system"
    if target.endswith(UNFINISHED):
        return "has the name of an unfinished file"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device and not a file"
    if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
        return f"would expand from {info.compress_size} to {info.file_size} bytes, unlike any image or label"
    return None


def _not_there_yet(members: dict[Path, _Member], bar: tqdm) -> dict[Path, _Member]:
    """Leaves out the files that an earlier call has unpacked."""
    wanted = {target: member for target, member in members.items() if not os.path.lexists(target)}
    other = [target for target, member in members.items() if target not in wanted and not _is(target, member, bar)]
    if other:
        some = ", ".join(map(str, other[:3])) + (", …" if len(other) > 3 else "")
        raise UserError(
            f"{len(other)} files already exist, but differ from those in the archives: {some}. Nothing was written. "
            "If they are damaged, or left over from an earlier attempt, delete them and start again."
        )
    return wanted


def _is(path: Path, member: _Member, bar: tqdm) -> bool:
    """Whether the file has the member's content, according to its size and checksum."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    checksum = 0
    with explain_os_errors(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
            bar.update(len(block))
    return checksum == member.info.CRC


def _write(member: _Member, target: Path) -> None:
    """Unpacks one file; its checksum is verified at its end."""
    part = target.with_name(target.name + UNFINISHED)
    try:
        with explain_os_errors(target, kept="files unpacked so far are kept"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.archive.open(member.info) as source, open(part, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            os.replace(part, target)
    except Exception as error:  # damaged data can raise any exception
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{member.path} is damaged: {member} in it cannot be unpacked ({printable(str(error))}). Delete the "
            "archive, fetch it again and start again: files unpacked so far are kept."
        ) from error
