"""Files that are never half written, and errors that a person can act on."""

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps


class UserError(Exception):
    """Something the user can put right: the message names the file, what is wrong and what to do.

    The command line prints it as a sentence, and so does Jupyter; anything else that is raised is a bug of ours.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback."""
        return [str(self)]


_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NOT_ALLOWED = {errno.EROFS, errno.EACCES, errno.EPERM}


@contextlib.contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Says in a sentence why `path` cannot be written: raises UserError if the disk is full, or read-only."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise UserError(
                f"The disk is full: {path} could not be written. Free some space and start again; "
                "what was there before is untouched."
            ) from error
        if error.errno in _NOT_ALLOWED:
            raise UserError(
                f"{path} may not be written ({error.strerror}): give yourself the right to write there, or choose "
                "other folders by DVAE_RUNS_ROOT and DVAE_CACHE_ROOT."
            ) from error
        raise


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`, moved into place only if the block ends well.

    Whoever reads `path` sees the old content or the new, whole; a failure leaves the old.
    Raises UserError as `explain_os_errors` does.
    """
    path = Path(path)
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        try:
            yield Path(name)
            with open(name, "r+b") as written:  # Windows brings to disk only what may be written
                os.fsync(written.fileno())
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(name, 0o666 & ~umask)  # mkstemp's files are private; these are ordinary
            os.replace(name, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)


def write_json(path: Path, content: Any) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Raises UserError if the file is missing or is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged (it is not JSON: {error}). Delete it and start again.") from error


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_image(path: Path) -> np.ndarray:
    """An image file as uint8 (H, W, 3) RGB, upright: cameras store how they were held, and not the turned image.

    Raises UserError if the file is missing, truncated, not an image, or a decompression bomb.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist.") from None
    except Image.DecompressionBombError as error:
        raise UserError(f"{path} is too large to be a photograph of a hand: crop it or scale it down.") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read as an image: it is damaged, cut short or of another kind ({error}). "
            "Fetch or export it again."
        ) from error
