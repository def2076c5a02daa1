"""Complete and verified files from the network: hashes, resumed downloads, and readable errors."""

import http
import http.client
import os
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from dvae_lib.files import UserError, check_room, explain_os_errors, printable, sha256

AT_ONCE = 8  # parallel downloads: small files mostly wait for the server
TIMEOUT = 60  # seconds without data
PAUSES = (1, 5, 20)  # seconds before a large file's download is tried again


def read_hashes(path: Path) -> dict[str, str]:
    """The hashes by file name of a list written by `sha256sum`; names are relative to the data set's folder."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", maxsplit=1) for line in lines)}


def verify(folder: Path, hashes: dict[str, str]) -> tuple[list[str], list[str]]:
    """Names of the files that are missing from `folder`, and of those that are not as expected."""
    missing = [name for name in hashes if not (folder / name).is_file()]
    damaged = [name for name in hashes if name not in missing and sha256(folder / name) != hashes[name]]
    return missing, damaged


def fetch_all(folder: Path, hashes: dict[str, str], url: Callable[[str], str], progress: bool = True) -> int:
    """Downloads into `folder` what `verify` finds missing or damaged, each `name` from `url(name)`; returns how many.

    Raises UserError, naming the file, if a download fails; the files downloaded before it are kept.
    """
    missing, damaged = verify(folder, hashes)
    wanted = missing + damaged
    with ThreadPoolExecutor(AT_ONCE) as pool, tqdm(total=len(hashes), unit="file", disable=not progress) as bar:
        bar.update(len(hashes) - len(wanted))
        for _ in pool.map(lambda name: fetch(url(name), folder / name, hashes[name]), wanted):
            bar.update()
    return len(wanted)


def fetch(url: str, path: Path, digest: str | None = None, size: int | None = None, progress: bool = False) -> None:
    """Downloads one file; `path` then has the sha256 `digest` and `size` bytes, or is unchanged.

    Received data are stored in <path>.part until the file is complete, and a second call requests the rest from the
    server. With `progress`, for large files, it also shows a progress bar and retries broken connections.
    """
    part = path.with_name(path.name + ".part")
    try:
        _persist(url, part, size, PAUSES if progress else ())
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{url} is not available: the server responds {error.code} {printable(str(error.reason))}. Start again "
            f"later, or save the file as {path} yourself."
        ) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise UserError(
            f"{url} could not be downloaded ({_said(error)}). Start again: it resumes where it stopped."
        ) from error
    wrong = []
    if size is not None and _size(part) != size:
        wrong.append(f"{_size(part)} bytes instead of {size}")
    if digest is not None and (found := sha256(part)) != digest:
        wrong.append(f"sha256 {found} instead of {digest}")
    if wrong:
        part.unlink()
        raise UserError(
            f"{url} is not the expected file ({', '.join(wrong)}) and was deleted. It was changed in transit, or the "
            "server now has another file. Start again; if that does not help, report it."
        )
    with explain_os_errors(path):
        os.replace(part, path)


def _persist(url: str, part: Path, size: int | None, pauses: Sequence[float]) -> None:
    """Retries after each of the pauses, and restarts the sequence of pauses whenever an attempt has received data."""
    failures = 0
    while True:
        have = _size(part)
        try:
            return _append(url, part, size, progress=bool(pauses))
        except (http.client.HTTPException, OSError) as error:
            failures = 1 if _size(part) > have else failures + 1
            if isinstance(error, urllib.error.HTTPError) or failures > len(pauses):
                raise
            pause = pauses[failures - 1]
            tqdm.write(f"{url} was interrupted ({_said(error)}): trying again in {pause} seconds.", file=sys.stderr)
            time.sleep(pause)


def _said(error: Exception) -> str:
    """The error message, which may contain text from the server."""
    return printable(str(error), 200)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Appends to `part` the missing bytes of the file.

    Raises UserError, before `part` is changed, if the server sends another file or the disk is too full.
    """
    have = _size(part)
    if size is not None and have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # `part` is complete; its hash is checked later
        raise
    with response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else the server sends the whole file again
        start = have if resumes else 0
        announced = response.headers["Content-Length"]
        total = start + int(announced) if announced else size
        if size is not None and total != size:
            raise UserError(
                f"{url} is not the expected file: it has {total} bytes instead of {size}. Nothing was downloaded. Open "
                "the address in a browser: a network that requires a login may have answered instead of the server, "
                "or the authors have published another version."
            )
        check_room(part, (total or 0) - start)
        bar = tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=part.stem, disable=not progress)
        with bar, explain_os_errors(part):
            part.parent.mkdir(parents=True, exist_ok=True)
            with open(part, "ab" if resumes else "wb") as file:
                while block := _read(response):
                    file.write(block)
                    bar.update(len(block))
        if total is not None and _size(part) < total:
            raise ConnectionError(f"the connection ended after {_size(part)} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(1 << 20)
    except OSError as error:  # without its errno: errors that have one come from the disk
        raise ConnectionError(str(error)) from error
