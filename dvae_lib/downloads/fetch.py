"""Files from the network that are whole and the right ones: hashes, resumed downloads, sentences when it fails."""

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

AT_ONCE = 8  # small files spend their time waiting for the server
TIMEOUT = 60  # seconds without a byte
PAUSES = (1, 5, 20)  # seconds before a large file's download is tried again


def read_hashes(path: Path) -> dict[str, str]:
    """The file name → hash of a list as `sha256sum` writes it; names are relative to the data set's folder."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return {name: digest for digest, name in (line.split("  ", maxsplit=1) for line in lines)}


def verify(folder: Path, hashes: dict[str, str]) -> tuple[list[str], list[str]]:
    """Names of the files that are missing from `folder`, and of those that are not the expected ones."""
    missing = [name for name in hashes if not (folder / name).is_file()]
    damaged = [name for name in hashes if name not in missing and sha256(folder / name) != hashes[name]]
    return missing, damaged


def fetch_all(folder: Path, hashes: dict[str, str], url: Callable[[str], str], progress: bool = True) -> int:
    """Downloads into `folder` what `verify` finds missing or damaged, each `name` from `url(name)`; returns how many.

    Raises UserError, naming the file, if one does not arrive; those that came before stay.
    """
    missing, damaged = verify(folder, hashes)
    wanted = missing + damaged
    with ThreadPoolExecutor(AT_ONCE) as pool, tqdm(total=len(hashes), unit="file", disable=not progress) as bar:
        bar.update(len(hashes) - len(wanted))
        for _ in pool.map(lambda name: fetch(url(name), folder / name, hashes[name]), wanted):
            bar.update()
    return len(wanted)


def fetch(url: str, path: Path, digest: str | None = None, size: int | None = None, progress: bool = False) -> None:
    """Downloads one file; `path` then has the sha256 `digest` and `size` bytes, or is as it was before.

    What has arrived lies in <path>.part until it is whole, and a second call asks the server for the rest. With
    `progress`, as for a large file, it also says how far it is, and a broken connection is tried again.
    """
    part = path.with_name(path.name + ".part")
    try:
        _persist(url, part, size, PAUSES if progress else ())
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{url} is not available: the server says {error.code} {printable(str(error.reason))}. Start again later, "
            f"or put the file at {path} by hand."
        ) from error
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise UserError(f"{url} did not arrive ({_said(error)}). Start again: it resumes where it stopped.") from error
    wrong = []
    if size is not None and _size(part) != size:
        wrong.append(f"{_size(part)} bytes instead of {size}")
    if digest is not None and (found := sha256(part)) != digest:
        wrong.append(f"sha256 {found} instead of {digest}")
    if wrong:
        part.unlink()
        raise UserError(
            f"{url} is not the file it should be ({', '.join(wrong)}) and was thrown away. It was changed on its way, "
            "or there is another file now. Start again; if that does not help, report it."
        )
    with explain_os_errors(path):
        os.replace(part, path)


def _persist(url: str, part: Path, size: int | None, pauses: Sequence[float]) -> None:
    """Tries again after a pause each, and may do so all over again whenever an attempt has brought something."""
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
            tqdm.write(f"{url} broke off ({_said(error)}): trying again in {pause} seconds.", file=sys.stderr)
            time.sleep(pause)


def _said(error: Exception) -> str:
    """What went wrong, in words that may be the server's."""
    return printable(str(error), 200)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(url: str, part: Path, size: int | None, progress: bool) -> None:
    """Adds to `part` the bytes of the file that it does not hold yet.

    Raises UserError, before what has arrived is touched, if another file comes or the disk lacks the room.
    """
    have = _size(part)
    if size is not None and have >= size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # `part` holds all there is; its hash will tell
        raise
    with response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else the server sends the whole file again
        start = have if resumes else 0
        announced = response.headers["Content-Length"]
        total = start + int(announced) if announced else size
        if size is not None and total != size:
            raise UserError(
                f"{url} is another file than it should be: it has {total} bytes instead of {size}. Nothing was "
                "downloaded. Open the address in a browser: a network that asks for a login answers in the server's "
                "place, or the authors have published another version."
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
    except OSError as error:  # without its number: those that have one are the disk's
        raise ConnectionError(str(error)) from error
