"""Single files from a server on this machine: resumed, judged by hash and size, and named when they do not arrive."""

import errno
import http.client
import io
import urllib.request

import pytest

from dvae_lib.downloads import download
from dvae_lib.downloads import fetch as module
from dvae_lib.downloads.fetch import fetch
from dvae_lib.files import UserError
from tests.helpers.miniatures import ARCHIVE, FILES, HASHES, write


def fetch_image(server, folder):
    name = "images/00000.jpg"
    fetch(download.REPOSITORIES["realhand"].address(name, server.base), folder / name, HASHES[name])
    return (folder / name).read_bytes() == FILES[name]


@pytest.mark.parametrize("ranges, second_start", [(True, 70_000), (False, 0)])
def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, ranges, second_start):
    """… if the server can; else it starts afresh."""
    server.cut, server.ranges = 70_000, ranges
    with pytest.raises(UserError, match=r"00000\.jpg could not be downloaded .*Start again"):
        fetch_image(server, tmp_path)
    assert not (tmp_path / "images/00000.jpg").exists()
    server.cut = None
    assert fetch_image(server, tmp_path)
    assert [start for _, start in server.asked] == [0, second_start]
    assert not list(tmp_path.rglob("*.part"))


def test_a_download_killed_just_before_its_end_is_recognised(server, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/00000.jpg.part").write_bytes(FILES["images/00000.jpg"])
    assert fetch_image(server, tmp_path) and server.asked == []


def test_another_file_than_expected_is_thrown_away(server, tmp_path):
    (path,) = [p for p in server.files if p.endswith("00000.jpg")]
    original, server.files[path] = server.files[path], b"something else"
    with pytest.raises(UserError, match=r"00000\.jpg is not the expected file .*Start again"):
        fetch_image(server, tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    server.files[path] = original
    assert fetch_image(server, tmp_path)


def test_a_missing_file_and_a_missing_server_are_named(server, tmp_path):
    (path,) = [p for p in server.files if p.endswith("00000.jpg")]
    del server.files[path]
    with pytest.raises(UserError, match=r"00000\.jpg is not available: the server responds 404"):
        fetch_image(server, tmp_path)
    for url, reason in (("http://127.0.0.1:9/file", "Connection refused"), ("no-server", "unknown url type")):
        with pytest.raises(UserError, match=f"{url} could not be downloaded .*{reason}"):
            fetch(url, tmp_path / "file")


EVIL = "\x1b[2J\x1b[31m\x9b5m" + "x" * 60_000


def said(server, folder):
    with pytest.raises(UserError) as error:
        fetch_image(server, folder)
    assert str(error.value).isprintable() and len(str(error.value)) < 700
    return str(error.value)


def test_what_a_server_says_is_printable_and_short(server, tmp_path, monkeypatch):
    server.length = EVIL
    assert r"could not be downloaded (invalid literal for int() with base 10: '\x1b[2J" in said(server, tmp_path)
    server.files, server.reason = {}, EVIL
    assert r"the server responds 404 \x1b[2J\x1b[31m\x9b5mxxx" in said(server, tmp_path)

    def garbage(*_, **__):
        raise http.client.BadStatusLine(EVIL)

    monkeypatch.setattr(urllib.request, "urlopen", garbage)
    assert r"could not be downloaded (\x1b[2J\x1b[31m\x9b5mxxx" in said(server, tmp_path)


class Full(io.BytesIO):
    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


class FullAtTheEnd(io.BytesIO):
    def close(self):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_and_a_broken_line_are_told_apart(server, tmp_path, monkeypatch):
    for full in (Full, FullAtTheEnd):
        monkeypatch.setattr(module, "open", lambda *_, full=full: full(), raising=False)
        assert "The disk is full: " in said(server, tmp_path)
    monkeypatch.undo()

    def reset(*_):
        raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")

    monkeypatch.setattr(http.client.HTTPResponse, "read", reset)
    assert "could not be downloaded ([Errno" in said(server, tmp_path)


def test_what_has_arrived_is_judged_by_its_size(freiburg, tmp_path):
    """Of a file that has no hash: all of it, which asks for nothing more, or too much."""
    content = freiburg.files[ARCHIVE]
    write(tmp_path, {"whole.part": content, "long.part": content + b"more"})
    fetch(freiburg.base + ARCHIVE, tmp_path / "whole", size=len(content))
    assert (tmp_path / "whole").read_bytes() == content and freiburg.asked == []
    with pytest.raises(UserError, match=f"not the expected file .{len(content) + 4} bytes instead of"):
        fetch(freiburg.base + ARCHIVE, tmp_path / "long", size=len(content))
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]
