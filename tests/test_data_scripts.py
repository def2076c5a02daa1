"""The scripts against a server on this machine: consent, hashes, resumed downloads, and what they say of a folder."""

import functools
import hashlib
import http.server
import re
import threading

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from data_scripts import check, download, make_synthetic, prepare
from dvae_lib.datasets import fetch, open_source
from dvae_lib.files import UserError

FILES = {"LICENSE": b"terms", "images/00000.jpg": bytes(range(256)) * 400, "pose_gt.mat": b"poses"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in FILES.items()}


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the server's `files`, ranges too; closes the line after `cut` bytes, if set; notes what was asked."""

    def do_GET(self):
        content = self.server.files.get(self.path)
        if content is None:
            return self.send_error(404)
        start = 0
        if (asked := self.headers["Range"]) and self.server.ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])
            if start >= len(content):
                return self.send_error(416)
        self.server.asked.append((self.path, start))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][: self.server.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.base = f"http://127.0.0.1:{server.server_port}"
    server.files = {download.address(name, "", download.REVISION): content for name, content in FILES.items()}
    server.asked, server.cut, server.ranges = [], None, True
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
    monkeypatch.setattr(download, "HASHES", path)
    monkeypatch.setattr(check, "HASHES", path)


def run(script, *arguments):
    app = typer.Typer()
    app.command()(script.main)
    return CliRunner().invoke(app, [str(a) for a in arguments])


def get(server, folder, *arguments):
    return run(download, "realhand", "--root", folder, "--base", server.base, *arguments)


def whole(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()} == FILES


def test_nothing_is_downloaded_without_consent(server, hashes, tmp_path):
    result = get(server, tmp_path / "to")
    assert result.exit_code == 2
    assert "non-commercial" in result.output and "add --accept-licence" in result.output
    assert server.asked == [] and not (tmp_path / "to").exists()


def test_downloads_everything_then_nothing_then_what_is_wanting(server, hashes, tmp_path):
    folder = tmp_path / "to"
    result = get(server, folder, "--accept-licence")
    assert result.exit_code == 0 and "is complete" in result.output and "3 files were fetched" in result.output
    assert whole(folder) and len(server.asked) == 3

    assert "0 files were fetched" in get(server, folder, "--accept-licence").output
    assert len(server.asked) == 3

    (folder / "LICENSE").unlink()
    (folder / "pose_gt.mat").write_bytes(b"damaged")
    assert "2 files were fetched" in get(server, folder, "--accept-licence").output
    assert whole(folder) and len(server.asked) == 5


def fetch_image(server, folder):
    name = "images/00000.jpg"
    fetch.fetch(download.address(name, server.base, download.REVISION), folder / name, HASHES[name])
    return (folder / name).read_bytes() == FILES[name]


@pytest.mark.parametrize("ranges, second_start", [(True, 70_000), (False, 0)])
def test_a_broken_download_goes_on_where_it_stopped(server, tmp_path, ranges, second_start):
    """… if the server can; else it starts afresh."""
    server.cut, server.ranges = 70_000, ranges
    with pytest.raises(UserError, match=r"00000\.jpg did not arrive .*Start again"):
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
    with pytest.raises(UserError, match=r"00000\.jpg is not the file it should be .*Start again"):
        fetch_image(server, tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    server.files[path] = original
    assert fetch_image(server, tmp_path)


def test_a_missing_file_and_a_missing_server_are_named(server, tmp_path):
    (path,) = [p for p in server.files if p.endswith("00000.jpg")]
    del server.files[path]
    with pytest.raises(UserError, match=r"00000\.jpg cannot be had: the server says 404"):
        fetch_image(server, tmp_path)
    with pytest.raises(UserError, match=r"did not arrive .*Connection refused"):
        fetch.fetch("http://127.0.0.1:9/file", tmp_path / "file", "")


def test_check_says_what_is_wanting(server, hashes, tmp_path):
    folder = tmp_path / "to"
    get(server, folder, "--accept-licence")
    assert check.complain("realhand", folder) is None
    (folder / "LICENSE").unlink()
    (folder / "pose_gt.mat").write_bytes(b"damaged")
    result = run(check, "realhand", "--root", folder)
    assert result.exit_code == 1
    assert str(result.exception) == (
        f"realhand in {folder} is not complete: 1 file is missing (LICENSE) and 1 file is not as published "
        "(pose_gt.mat). Run `python -m data_scripts.download realhand` to fetch what is wanting."
    )


@pytest.mark.parametrize("script", [check, download, prepare, make_synthetic])
def test_an_unknown_name_is_refused(script):
    result = run(script, "no-such-data")
    assert isinstance(result.exception, UserError) and "no-such-data" in str(result.exception)


def test_the_published_hashes_cover_the_data_set():
    names = set(fetch.read_hashes(download.HASHES))
    assert names == {"LICENSE", "params.mat", "pose_gt.mat"} | {f"images/{i:05d}.jpg" for i in range(583)}


@pytest.mark.real_data("realhand")
def test_the_real_folder_is_complete_and_drawn(tmp_path):
    result = run(check, "realhand", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0 and "is complete: 583 photographs" in result.output
    picture = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB"))
    assert min(picture.shape[:2]) > 500 and picture.std() > 20


@pytest.mark.real_data("realhand")
def test_the_cache_is_prepared_ahead_of_training(tmp_path, monkeypatch):
    monkeypatch.setenv("DVAE_CACHE_ROOT", str(tmp_path))
    result = run(prepare, "realhand", "--size", "16")
    assert result.exit_code == 0 and "583 samples of 16 pixels lie ready" in result.output
    assert len(list(tmp_path.glob("realhand-16px-*/manifest.json"))) == 1


def test_rendered_hands_are_drawn(tmp_path):
    result = run(make_synthetic, "synth-stb", "--pictures", tmp_path, "--count", 3, "--size", 32)
    assert result.exit_code == 0 and "3 pictures of synth-stb" in result.output
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000.png", "00001.png", "00002.png", "sheet.png"]
    expected = open_source("synth-stb").read(np.array([0]), 32)["image"][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "00000.png")), expected)
