"""A server on this machine, and miniatures in place of the real data sets."""

import functools
import http.server
import re
import threading

import pytest

from dvae_lib.datasets import rhd, stb
from dvae_lib.downloads import check, download, fetch
from tests.helpers.miniatures import ARCHIVE, COUNTS, FILES, FRAMES, HASHES, rhd_files, zipped

REALHAND = download.REPOSITORIES["realhand"]


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the server's `files`, ranges too, and notes what was asked.

    Closes the line after `cut` bytes, announces `length` and gives `reason` for what it lacks, if these are set.
    """

    def do_GET(self):
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404, self.server.reason)
        start = 0
        if (asked := self.headers["Range"]) and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                return self.send_error(416)
        self.server.asked.append((self.path, start))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", self.server.length or str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.base = f"http://127.0.0.1:{server.server_port}"
    server.files = {REALHAND.address(name, ""): content for name, content in FILES.items()}
    server.asked, server.cut, server.ranges, server.length, server.reason = [], None, True, None, None
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def hashes(tmp_path, monkeypatch):
    """The list of the miniature's hashes in place of the real one's."""
    path = tmp_path / "hashes"
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in HASHES.items()))
    monkeypatch.setitem(check.HASHES, "realhand", path)


@pytest.fixture
def small(monkeypatch):
    """The scripts and loaders expect the miniatures."""
    monkeypatch.setattr(stb, "FRAMES", FRAMES)
    monkeypatch.setattr(rhd, "COUNTS", COUNTS)
    monkeypatch.setattr(check, "STB_LABELS", {})


@pytest.fixture
def freiburg(server, small, monkeypatch):
    """The server has the archive of the small RHD, and a broken download is tried again without a pause."""
    server.files[ARCHIVE] = zipped(rhd_files())
    monkeypatch.setattr(download, "RHD_BYTES", len(server.files[ARCHIVE]))
    monkeypatch.setattr(fetch, "PAUSES", (0,))
    return server
