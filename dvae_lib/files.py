"""Atomic file writes, and errors that tell the user what to do."""

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from PIL import ExifTags, Image
from tqdm import tqdm


class UserError(Exception):
    """An error that the user can correct: the message names the file, the problem and the solution.

    The command line and Jupyter print only the message; any other exception is a bug in this library.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def explain_os_errors(path: Path, advice: str = "", kept: str = "existing files are unchanged") -> Iterator[None]:
    """Raises UserError where the operating system cannot read or write `path`.

    advice: a sentence appended to the message. kept: what is not affected if the disk is full.
    An OSError without an errno does not come from the operating system but, for example, from an image decoder, and is
    passed on.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        blocking = next((folder for folder in Path(path).parents if os.path.isfile(folder)), None)
        if error.errno in _FULL:
            why = f"The disk is full: {path} could not be written. Free some space and start again; {kept}."
        elif error.errno in _NOT_ALLOWED:
            why = (
                f"{path} cannot be read or written ({error.strerror}): change its permissions, close the program that "
                "has it open, or choose another folder (DVAE_DATA_ROOT for data, DVAE_CACHE_ROOT for prepared data, "
                "DVAE_RUNS_ROOT for runs)."
            )
        elif blocking:
            why = f"{blocking} is a file where {path} needs a folder: move it, or choose another folder."
        elif error.errno == errno.ENOENT:
            why = f"{path} does not exist."
        else:
            why = f"{path} cannot be read or written ({error.strerror}): choose another name or folder."
        raise UserError(f"{why} {advice}".rstrip()) from error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, which is moved into place only if the block succeeds.

    A reader of `path` sees either the complete old or the complete new content; after a failure, the old content is
    unchanged. Raises UserError as `explain_os_errors` does.
    """
    path = Path(path)
    temporary = path.parent / f".{secrets.token_hex(8)}{path.suffix[:16]}"  # within the limit for file names
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "r+b") as written:  # Windows flushes only files that are open for writing
                os.fsync(written.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def exclusive_lock(path: Path, waiting: str) -> Iterator[None]:
    """Holds the lock file `path`, which only one process can hold at a time; it is released if that process dies.

    waiting: the message on stderr while another process holds it. Raises UserError as `explain_os_errors` does.
    """
    lock = filelock.FileLock(path)
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            tqdm.write(waiting, file=sys.stderr)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises UserError if the file cannot be read or is not JSON."""
    with explain_os_errors(path):
        content = Path(path).read_bytes()
    try:
        return json.loads(content)
    except ValueError as error:
        raise UserError(f"{path} is damaged (it is not JSON: {error}). Delete it and start again.") from error


def absent(files: list[Path]) -> list[Path]:
    """The files that do not exist. Each folder is listed once: checking every file takes a minute on a NAS."""
    by_folder = defaultdict(list)
    for path in files:
        by_folder[path.parent].append(path)
    missing = []
    for folder, paths in by_folder.items():
        names = set(os.listdir(folder)) if folder.is_dir() else set()
        missing += [path for path in paths if path.name not in names]
    return missing


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with explain_os_errors(path), open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def printable(name: str, limit: int = 80) -> str:
    """A name from an archive, a server or a listing, safe to print in a message and at most `limit` characters long.

    Non-printable characters are escaped as in Python; the middle of a longer name is left out.
    """
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)
    end = limit // 3
    return shown if len(shown) <= limit else f"{shown[: limit - end - 1]}…{shown[-end:]}"


def check_room(path: Path, needed: int) -> None:
    """Raises UserError if the disk that contains, or would contain, `path` has less than `needed` bytes free."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise UserError(
            f"{path} needs another {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free. Free some space, or "
            "choose a folder on a larger disk with DVAE_DATA_ROOT."
        )


# File name suffixes that count as photographs when a folder is given.
PHOTOGRAPHS = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".heic"}
_GREY = (128, 128, 128, 255)  # behind transparent pixels, as outside a crop
_TURNS = {  # the operation that undoes each EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Formats of photographs only: Pillow would run Ghostscript to open a PostScript file, whatever its name.
_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "GIF", "BMP", "PPM", "JPEG2000", "AVIF")
_NO_IMAGES = {  # the first bytes of files that are mistaken for images
    rb"....ftyp(avi|crx|hei|hev|mif|msf)": "a HEIC, AVIF or raw photograph: export it as JPEG",
    rb"....(ftyp|moov|mdat|wide|free)|\x1aE\xdf\xa3|RIFF....AVI": "a video: export one of its frames as PNG",
    rb"%PDF": "a PDF: export its page as PNG",
    rb"%!PS|\xc5\xd0\xd3\xc6": "a PostScript drawing: export it as PNG",
}


def read_image(
    path: Path, size: tuple[int, int] | None = None, advice: str = "Fetch or export it again."
) -> np.ndarray:
    """An image file as uint8 (H, W, 3) RGB, rotated upright according to its EXIF orientation.

    Deeper channels are scaled to 8 bits, and transparent pixels are blended with mid-grey.
    size: the required width and height. advice: a sentence that tells the user what to do about a damaged file.

    Raises UserError if the file is missing, damaged, of another size, a decompression bomb or not an image.
    """
    if re.match(r"\w\w+:[/\\]", str(path)):
        raise UserError(f"{path} is a URL, not a file: download the image and give the path of its file.")
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder: give the path of an image in it.")
    with explain_os_errors(path), open(path, "rb") as file:
        head = file.read(16)
    try:
        Image.init()
        with Image.open(path, formats=[kind for kind in _FORMATS if kind in Image.OPEN]) as image:
            pixels = np.asarray(_upright_rgb(image))
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large to be a photograph of a hand: crop it or scale it down.") from error
    except Exception as error:  # damaged data can raise any exception in a decoder
        for start, kind in _NO_IMAGES.items():
            if re.match(start, head, re.DOTALL):
                raise UserError(f"{path} is not an image but {kind}.") from error
        raise UserError(
            f"{path} cannot be read as an image: it is damaged, cut short or of another type ({error}). {advice}"
        ) from error
    height, width, _ = pixels.shape
    if size and size != (width, height):
        raise UserError(f"{path} has {width} × {height} pixels instead of {size[0]} × {size[1]}. {advice}")
    return pixels


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    turn = None
    with contextlib.suppress(Exception):  # if the EXIF data are damaged or have no orientation
        turn = _TURNS[image.getexif()[ExifTags.Base.Orientation]]
    if image.mode[0] in "IF":
        values = np.asarray(image, np.float32)
        # 16-bit values go up to 65535. 32-bit ones have no fixed range: use the smallest usual one that contains them.
        tops = [top for top in (1, 255, 65535) if values.min() >= 0 and values.max() <= top]
        if not tops:
            raise ValueError(f"its values range from {values.min():g} to {values.max():g}, outside 0 to 65535")
        top = 65535 if image.mode.startswith("I;16") else tops[0]
        image = Image.fromarray((values * (255 / top)).round().astype(np.uint8))
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, _GREY), image.convert("RGBA"))
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)
