"""Zip archives unpacked so that they can do no harm: nothing beside the folder, nothing overwritten, nothing half.

A zip file can name members that lead out of the folder it is unpacked in, hold links, or swell until the disk is full.
All that is to be unpacked is checked before the first byte is written; what the data set does not need stays packed,
whatever it is. Files then appear under their names one by one, each only when it is whole and has the checksum (CRC-32)
that the archive holds for it; so a killed unpacking resumes.
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

MAX_FILES, MAX_BYTES = 10**6, 2 * 10**11  # of one unpacking; STB, the largest set, has 72 024 files of about 50 GB
MAX_RATIO = 100  # unpacked to packed; images and labels stay below 5, and deflate ends at 1032
SMALL = 1 << 20  # bytes; a smaller file may have any ratio
UNFINISHED = ".unpacking"  # behind the name of a file that is being written
_CLUSTER = 4096  # bytes; a file takes whole ones of the disk
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks others into memory without a limit
_ENCRYPTED = 0x1  # bit of a member's flags
# Names that Windows reads as something else: devices, drives, streams, and names that end in a dot or a space.
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
    """Unpacks zip archives into `folder`; returns how many files were not there yet.

    place: tells for an archive and the name of a file in it (with “/” between folders) where below `folder` the file
    belongs, or None to leave it out.

    Raises UserError, before anything is written, if a file is no archive or is cut short, if a member's name leads out
    of the folder, if a member that is to be unpacked is a link, a device or a bomb, if another file is already there
    under its name, or if the disk lacks the room; and later, if a member turns out to be damaged or the disk fills
    up. What was there before always stays as it is, and what has been unpacked so far stays too.
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
    except Exception as error:  # a damaged directory raises whatever its bytes happen to lead to
        raise UserError(
            f"{path} is not a zip archive, or not a whole one ({printable(str(error))}): a download that broke off "
            "looks like this. Delete it and fetch it again. Nothing was unpacked."
        ) from error


def _plan(opened: list[tuple[Path, zipfile.ZipFile]], place: Place) -> dict[str, _Member]:
    """What will lie where, below the folder."""
    plan: dict[str, _Member] = {}
    for path, archive in opened:
        placed = list(_placed(path, archive, place))
        if not placed:
            raise UserError(f"{path} holds no file of the data set: leave it out. Nothing was unpacked.")
        for target, member in placed:
            other = plan.setdefault(target, member)
            if (other.info.CRC, other.size) != (member.info.CRC, member.size):
                raise member.refused(f"belongs at the same place as another file, {other} of {other.path.name}")
    seen: dict[str, str] = {}
    folders = {str(above) for target in plan for above in PurePosixPath(target.casefold()).parents}
    for target, member in plan.items():
        first = seen.setdefault(target.casefold(), target)
        if first != target or target.casefold() in folders:  # one name on Windows and macOS, or a file as a folder
            raise member.refused(f"has a name that another file or folder bears too (“{first}”)")
    total = sum(member.size for member in plan.values())
    if len(plan) > MAX_FILES or total > MAX_BYTES:
        raise UserError(
            f"{', '.join(str(path) for path, _ in opened)} would unpack to {len(plan)} files of {total / 1e9:.0f} GB, "
            "more than any data set of hands: it was not unpacked. Fetch it again from its source."
        )
    return plan


def _placed(path: Path, archive: zipfile.ZipFile, place: Place) -> Iterator[tuple[str, _Member]]:
    """The members of an archive that have a place, each with it.

    Only these places are written to, so only members that have one are checked. A name that leads out of the folder is
    refused in any case: no data set has one, and `place` must not be led astray.
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
                "is encrypted or packed by a method that is not read here",
                "Unpack it with another program, such as 7-Zip, into a folder of its own.",
            )
        yield target, member


def _danger(target: str, info: zipfile.ZipInfo) -> str | None:
    """Why a member must not be unpacked to `target`, for which the whole archive is refused; None if it may."""
    if not target.isprintable() or len(target.encode()) > 200 or any(map(_FALSE_NAME.match, target.split("/"))):
        return "has a name that is not a file's on every system"
    if target.endswith(UNFINISHED):
        return "has the name of an unfinished file"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "is a link or a device and not a file"
    if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
        return f"would swell from {info.compress_size} to {info.file_size} bytes, as no image and no label does"
    return None


def _not_there_yet(members: dict[Path, _Member], bar: tqdm) -> dict[Path, _Member]:
    """Leaves out the files that an earlier unpacking has finished."""
    wanted = {target: member for target, member in members.items() if not os.path.lexists(target)}
    other = [target for target, member in members.items() if target not in wanted and not _is(target, member, bar)]
    if other:
        some = ", ".join(map(str, other[:3])) + (", …" if len(other) > 3 else "")
        raise UserError(
            f"{len(other)} files are already there, but not as they are in the archives: {some}. Nothing was written. "
            "If they are damaged, or left over from an earlier attempt, delete them and start again."
        )
    return wanted


def _is(path: Path, member: _Member, bar: tqdm) -> bool:
    """Whether the file has the member's content, by its size and checksum."""
    if not path.is_file() or path.stat().st_size != member.size:
        return False
    checksum = 0
    with explain_os_errors(path), open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
            bar.update(len(block))
    return checksum == member.info.CRC


def _write(member: _Member, target: Path) -> None:
    """Unpacks one file; its checksum is compared as its end is read."""
    part = target.with_name(target.name + UNFINISHED)
    try:
        with explain_os_errors(target, kept="what is unpacked so far stays"):
            target.parent.mkdir(parents=True, exist_ok=True)
            with member.archive.open(member.info) as source, open(part, "wb") as file:
                shutil.copyfileobj(source, file, 1 << 20)
            os.replace(part, target)
    except Exception as error:  # damaged bytes raise whatever they happen to lead to
        with contextlib.suppress(OSError):
            part.unlink()
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{member.path} is damaged: {member} in it cannot be unpacked ({printable(str(error))}). Delete the "
            "archive, fetch it again and start again: what is unpacked so far stays."
        ) from error
