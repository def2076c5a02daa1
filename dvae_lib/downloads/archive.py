"""Zip archives unpacked so that they can do no harm: nothing beside the folder, nothing overwritten, nothing half.

A zip file can name members that lead out of the folder it is unpacked in, hold links, or swell until the disk is full.
All of it is looked through before the first byte is written. Files then appear under their names one by one, each only
when it is whole and has the checksum (CRC-32) that the archive holds for it; so a killed unpacking simply goes on.
"""

import contextlib
import errno
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from dvae_lib.files import UserError

MAX_FILES, MAX_BYTES = 10**6, 2 * 10**11  # of one unpacking; STB, the largest set, has 72 024 files of about 50 GB
MAX_RATIO = 100  # unpacked to packed; images and labels stay below 5, and deflate ends at 1032
SMALL = 1 << 20  # bytes; a smaller file may have any ratio
UNFINISHED = ".unpacking"  # behind the name of a file that is being written
_CLUSTER = 4096  # bytes; a file takes whole ones of the disk
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ENCRYPTED = 0x1  # bit of a member's flags
# What Windows takes for another name than it seems: devices, drives and streams, names that end in a dot or space.
_FALSE_NAME = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)( *\.|$)|.*[\x00-\x1f:]|.*[. ]$", re.IGNORECASE | re.DOTALL)

Place = Callable[[Path, str], str | None]


class _Member(NamedTuple):
    path: Path  # of the archive
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo


def unpack(archives: Sequence[Path], folder: Path, place: Place, progress: bool = True) -> int:
    """Unpacks zip archives into `folder`; returns how many files were not there yet.

    place: tells for an archive and the name of a file in it (with “/” between folders) where below `folder` the file
    belongs, or None to leave it out.

    Raises UserError, before anything is written, if a file is no archive or is cut short, if a member's name leads out
    of the folder, is a link, a device or a bomb, if another file is already there under its name, or if the disk has
    not the room; and later, if a member turns out to be damaged or the disk fills up. What was there before always
    stays as it is, and what has been unpacked so far stays too.
    """
    with contextlib.ExitStack() as stack:
        opened = [(path, stack.enter_context(_open(path))) for path in archives]
        members = {folder / target: member for target, member in _plan(opened, place).items()}
        total = sum(member.info.file_size for member in members.values())
        bar = tqdm(total=total, desc="Unpacking", unit="B", unit_scale=True, disable=not progress)
        stack.enter_context(bar)
        wanted = _not_there_yet(members, bar)
        _check_room(folder, [member.info.file_size for member in wanted.values()])
        for target, member in wanted.items():
            with _explained(member, target):
                _write(member, target)
            bar.update(member.info.file_size)
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
            f"{path} is not a zip archive, or not a whole one ({error}): a download that broke off looks like this. "
            "Delete it and fetch it again. Nothing was unpacked."
        ) from error


def _plan(opened: list[tuple[Path, zipfile.ZipFile]], place: Place) -> dict[str, _Member]:
    """What will lie where, below the folder; refuses an archive of which any member is not to be trusted."""
    plan: dict[str, _Member] = {}
    for path, archive in opened:
        placed = False
        for info in archive.infolist():
            name = info.filename.replace("\\", "/")  # some Windows programs write names so
            parts = [part for part in name.split("/") if part not in ("", ".")]
            if reason := _danger(name, parts, info):
                raise _refusal(path, info, reason)
            target = None if name.endswith("/") else place(path, "/".join(parts))
            if target is None:
                continue
            if info.flag_bits & _ENCRYPTED or info.compress_type not in _METHODS:
                raise UserError(
                    f"{path}: “{info.filename}” in it is encrypted or packed by a method that only other programs "
                    "know. Nothing was unpacked. Unpack it with one of these, such as 7-Zip, into a folder of its own."
                )
            placed = True
            other = plan.setdefault(target, _Member(path, archive, info))
            if (other.info.CRC, other.info.file_size) != (info.CRC, info.file_size):
                raise _refusal(path, info, f"would lie at {target}, as does another file, “{_of(other)}”")
        if not placed:
            raise UserError(f"{path} holds no file of the data set: leave it out. Nothing was unpacked.")
    _check_names(plan)
    total = sum(member.info.file_size for member in plan.values())
    if len(plan) > MAX_FILES or total > MAX_BYTES:
        raise UserError(
            f"{', '.join(str(path) for path, _ in opened)} would unpack to {len(plan)} files of {total / 1e9:.0f} GB, "
            "more than any data set of hands: it was not unpacked. Fetch it again from its source."
        )
    return plan


def _check_names(plan: dict[str, _Member]) -> None:
    """Two names that are one on Windows and macOS, or a file where another needs a folder."""
    seen: dict[str, str] = {}
    folders = {parent for target in plan for parent in _parents(target.casefold())}
    for target, member in plan.items():
        other = seen.setdefault(target.casefold(), target)
        if other != target or target.casefold() in folders:
            raise _refusal(member.path, member.info, f"has a name that another file or folder bears too (“{other}”)")


def _parents(target: str) -> Iterator[str]:
    while "/" in target:
        target = target.rpartition("/")[0]
        yield target


def _danger(name: str, parts: list[str], info: zipfile.ZipInfo) -> str | None:
    """What speaks against unpacking a member, and with it the whole archive."""
    if name.startswith("/") or ".." in parts:
        return "leads out of the folder it is unpacked in"
    if not parts or any(_FALSE_NAME.match(part) or len(part.encode()) > 200 for part in parts):
        return "has a name that is not a file's on every system"
    if parts[-1].endswith(UNFINISHED):
        return "has the name of an unfinished file"
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
        return "is a link or a device and not a file"
    if info.file_size > max(SMALL, MAX_RATIO * info.compress_size):
        return f"would swell from {info.compress_size} to {info.file_size} bytes, as no image and no label does"
    return None


def _refusal(path: Path, info: zipfile.ZipInfo, reason: str) -> UserError:
    return UserError(
        f"{path} was not unpacked: “{info.filename}” in it {reason}. Nothing was written. "
        "Make sure that the archive comes from the data set's authors, and fetch it again."
    )


def _of(member: _Member) -> str:
    return f"{member.info.filename} of {member.path.name}"


def _not_there_yet(members: dict[Path, _Member], bar: tqdm) -> dict[Path, _Member]:
    """Leaves out the files that an earlier unpacking has finished."""
    wanted, other = {}, []
    for target, member in members.items():
        if not os.path.lexists(target):
            wanted[target] = member
        elif _is(target, member.info):
            bar.update(member.info.file_size)
        else:
            other.append(target)
    if other:
        some = ", ".join(map(str, other[:3])) + (", …" if len(other) > 3 else "")
        raise UserError(
            f"{len(other)} files are already there, but not as they are in the archives: {some}. Nothing was written. "
            "If they are damaged, or left over from an earlier attempt, delete them and start again."
        )
    return wanted


def _is(path: Path, info: zipfile.ZipInfo) -> bool:
    """Whether the file has the member's content, by its size and checksum."""
    if not path.is_file() or path.stat().st_size != info.file_size:
        return False
    checksum = 0
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            checksum = zlib.crc32(block, checksum)
    return checksum == info.CRC


def _check_room(folder: Path, sizes: list[int]) -> None:
    there = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    needed, free = sum(-(-size // _CLUSTER) * _CLUSTER for size in sizes), shutil.disk_usage(there).free
    if needed > free:
        raise UserError(
            f"{folder} needs another {needed / 1e9:.2f} GB, and only {free / 1e9:.2f} GB are free. Nothing was "
            "unpacked. Free some space, or choose a folder on a larger disk with DVAE_DATA_ROOT."
        )


def _write(member: _Member, target: Path) -> None:
    """Unpacks one file; its checksum is compared as its end is read."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + UNFINISHED)
    try:
        with member.archive.open(member.info) as source, open(part, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        os.replace(part, target)
    except Exception:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def _explained(member: _Member, target: Path) -> Iterator[None]:
    """Turns what can go wrong with one file into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full: {target} could not be written. Free some space and start again: what is unpacked "
                "so far stays."
            ) from error
        if error.errno:  # else it is a decompressor's
            raise UserError(f"{target} could not be written ({error.strerror}).") from error
        raise _damaged(member, error) from error
    except Exception as error:  # damaged bytes raise whatever they happen to lead to
        raise _damaged(member, error) from error


def _damaged(member: _Member, error: Exception) -> UserError:
    return UserError(
        f"{member.path} is damaged: “{member.info.filename}” in it cannot be unpacked ({error}). Delete the archive, "
        "fetch it again and start again: what is unpacked so far stays."
    )
