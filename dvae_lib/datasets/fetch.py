"""Files from the network that are whole and the right ones: hashes, resumed downloads, sentences when it fails."""

import errno
import http
import http.client
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from dvae_lib.files import UserError, sha256

AT_ONCE = 8  # small files spend their time waiting for the server
TIMEOUT = 60  # seconds without a byte


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
    """Downloads into `folder` what `verify` finds wanting, each `name` from `url(name)`; returns how many it was.

    Raises UserError, naming the file, when one cannot be had; those that came before stay.
    """
    missing, damaged = verify(folder, hashes)
    wanted = missing + damaged
    with ThreadPoolExecutor(AT_ONCE) as pool, tqdm(total=len(hashes), unit="file", disable=not progress) as bar:
        bar.update(len(hashes) - len(wanted))
        for _ in pool.map(lambda name: fetch(url(name), folder / name, hashes[name]), wanted):
            bar.update()
    return len(wanted)


def fetch(url: str, path: Path, digest: str) -> None:
    """Downloads one file; `path` then has the sha256 `digest`, or is as it was before.

    What has arrived lies in <path>.part until it is whole, and a second call asks the server for the rest.
    """
    part = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _append(url, part)
    except urllib.error.HTTPError as error:
        raise UserError(
            f"{url} cannot be had: the server says {error.code} {error.reason}. Start again later, or put the file "
            f"at {path} by hand."
        ) from error
    except (http.client.HTTPException, OSError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise UserError(
                f"The disk is full: {part} could not be written. Free some space and start again."
            ) from None
        raise UserError(f"{url} did not arrive ({error}). Start again: it goes on where it stopped.") from error
    found = sha256(part)
    if found != digest:
        part.unlink()
        raise UserError(
            f"{url} is not the file it should be (sha256 {found} instead of {digest}) and was thrown away. It was "
            "changed on its way, or the repository has changed. Start again; if that does not help, report it."
        )
    os.replace(part, path)


def _append(url: str, part: Path) -> None:
    """Adds to `part` the bytes of the file that it does not hold yet."""
    have = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # `part` holds all there is; its hash will tell
        raise
    goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT  # else the server sends the whole file again
    with response, open(part, "ab" if goes_on else "wb") as file:
        start = file.tell()
        shutil.copyfileobj(response, file)
        announced = response.headers["Content-Length"]
        if announced and file.tell() - start < int(announced):
            raise ConnectionError(f"the connection ended after {file.tell()} bytes")
