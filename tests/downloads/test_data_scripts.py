"""The scripts against a server on this machine: consent, hashes, resumed downloads, and what they say of a folder."""

import functools
import hashlib
import http.server
import io
import pickle
import re
import shutil
import threading
import zipfile
from collections import namedtuple

import filelock
import numpy as np
import pytest
import scipy.io
import typer
from PIL import Image
from typer.testing import CliRunner

from data_scripts import make_synthetic, prepare
from dvae_lib import settings
from dvae_lib.datasets import open_source, rhd, stb
from dvae_lib.datasets.stb_layout import SEQUENCES
from dvae_lib.downloads import check, download, fetch
from dvae_lib.files import UserError
from tests.helpers import rhd_tree

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


def contents(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def whole(folder):
    return contents(folder) == FILES


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
    assert check.inspect_realhand(folder).startswith("realhand in")
    (folder / "LICENSE").unlink()
    (folder / "pose_gt.mat").write_bytes(b"damaged")
    result = run(check, "realhand", "--root", folder)
    assert result.exit_code == 1
    assert str(result.exception) == (
        f"realhand in {folder} is not complete: 1 file is missing (LICENSE) and 1 file is not as published "
        "(pose_gt.mat). Run `python -m data_scripts.download realhand --accept-licence` to fetch what is wanting."
    )


# The two public sets in miniature: three frames of each of STB's sequences, three and two images of RHD.
FRAMES, COUNTS = 3, {"training": 3, "evaluation": 2}
ARCHIVE = "/data/RenderedHandpose/RHD_v1-1.zip"


def picture(number):
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256, 0)).save(file, "PNG")
    return file.getvalue()


def joints():
    """Any hand (21, 3) in mm, half a metre away: the palm, and five straight fingers."""
    fingers = [[25 * finger - 50, -40 - 25 * joint, 500] for finger in range(5) for joint in range(4)]
    return np.array([[0, 0, 500], *fingers], dtype=float)


@functools.cache
def stb_files():
    file = io.BytesIO()
    scipy.io.savemat(file, {"handPara": np.tile(joints().T[..., None], (1, 1, FRAMES))})
    names = [f"images/{s}/{v}_{i}.png" for s in SEQUENCES for v in stb.VIEWS for i in range(FRAMES)]
    labels = {f"labels/{s}_{camera}.mat": file.getvalue() for s in SEQUENCES for camera in ("BB", "SK")}
    return {name: picture(number) for number, name in enumerate(names)} | labels


@functools.cache
def rhd_files():
    xyz = np.tile(joints()[::-1] / 1000, (2, 1))
    entry = {"xyz": xyz, "uv_vis": np.ones((42, 3)), "K": np.array([[300, 0, 160], [0, 300, 160], [0, 0, 1.0]])}
    files = {"RHD_published_v2/README": b"terms"}
    for part, count in COUNTS.items():
        folder = f"RHD_published_v2/{part}"
        files[f"{folder}/anno_{part}.pickle"] = pickle.dumps(dict.fromkeys(range(count), entry))
        for kind in ("color", "mask", "depth"):
            files |= {f"{folder}/{kind}/{i:05d}.png": picture(len(files) + i) for i in range(count)}
    return files


def zipped(files):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return file.getvalue()


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


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


def get_rhd(server, folder, *arguments):
    return run(download, "rhd", "--root", folder, "--base", server.base, *arguments)


def test_rhd_asks_for_consent_first(freiburg, tmp_path):
    result = get_rhd(freiburg, tmp_path / "rhd")
    assert result.exit_code == 2 and freiburg.asked == [] and not (tmp_path / "rhd").exists()
    for words in ("research only", "any\ncommercial use is forbidden", "must cite", "add --accept-licence"):
        assert words.replace("\n", " ") in result.output.replace("\n", " ")


def test_rhd_is_downloaded_unpacked_and_found_complete(freiburg, tmp_path):
    folder = tmp_path / "rhd"
    result = get_rhd(freiburg, folder, "--accept-licence")
    assert result.exit_code == 0, result
    assert "18 files were unpacked" in result.output and "rhd is complete" in result.output
    assert contents(folder) == rhd_files() | {"RHD_v1-1.zip": freiburg.files[ARCHIVE]}
    result = run(check, "rhd", "--root", folder)
    assert result.exit_code == 0 and "is complete: all 17 files are there" in result.output

    assert "is complete in" in get_rhd(freiburg, folder, "--accept-licence").output
    (folder / "RHD_published_v2/training/mask/00001.png").unlink()
    assert "1 file was unpacked" in get_rhd(freiburg, folder, "--accept-licence").output
    assert len(freiburg.asked) == 1


def test_a_long_download_goes_on_by_itself_after_each_break(freiburg, tmp_path):
    freiburg.cut = -(-download.RHD_BYTES // 3)
    assert get_rhd(freiburg, tmp_path / "rhd", "--accept-licence").exit_code == 0
    assert [start for _, start in freiburg.asked] == [0, freiburg.cut, 2 * freiburg.cut]
    assert contents(tmp_path / "rhd").items() >= rhd_files().items()


def test_a_long_download_gives_up_when_nothing_comes_any_more(freiburg, tmp_path):
    freiburg.cut = 0
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert re.search(r"RHD_v1-1\.zip did not arrive .*it goes on where it stopped", str(result.exception))
    assert len(freiburg.asked) == 2  # the first time, and after the one pause


def test_another_size_is_noticed_before_anything_is_lost(freiburg, tmp_path):
    """A network's page of terms, say, in place of the archive: what has arrived before stays."""
    part = tmp_path / "rhd/RHD_v1-1.zip.part"
    write(tmp_path / "rhd", {part.name: freiburg.files[ARCHIVE][:100]})
    whole_archive, freiburg.files[ARCHIVE], freiburg.ranges = freiburg.files[ARCHIVE], b"please log in", False
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    expected = f"has 13 bytes instead of {len(whole_archive)}. Nothing was downloaded"
    assert isinstance(result.exception, UserError) and expected in str(result.exception)
    assert part.read_bytes() == whole_archive[:100]
    freiburg.files[ARCHIVE], freiburg.ranges = whole_archive, True
    assert get_rhd(freiburg, tmp_path / "rhd", "--accept-licence").exit_code == 0
    assert freiburg.asked[-1] == (ARCHIVE, 100)


def test_a_download_without_room_does_not_begin(freiburg, tmp_path, monkeypatch):
    free = namedtuple("usage", "free")(2 * download.RHD_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert isinstance(result.exception, UserError) and "are free in" in str(result.exception)
    assert freiburg.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(download.RHD_BYTES - 1))
    with pytest.raises(UserError, match=r"mine\.zip\.part needs another .* GB, and only .* are free"):
        fetch.fetch(freiburg.base + ARCHIVE, tmp_path / "mine.zip", size=download.RHD_BYTES)
    assert not list(tmp_path.glob("mine*"))

    write(tmp_path / "rhd", {"RHD_v1-1.zip.part": freiburg.files[ARCHIVE][:100]})  # what is here needs no room
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(2 * download.RHD_BYTES - 100))
    get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert freiburg.asked[-1] == (ARCHIVE, 100)


def test_what_has_arrived_is_judged_by_its_size(freiburg, tmp_path):
    """Of a file that has no hash: all of it, which asks for nothing more, or too much."""
    content = freiburg.files[ARCHIVE]
    write(tmp_path, {"whole.part": content, "long.part": content + b"more"})
    fetch.fetch(freiburg.base + ARCHIVE, tmp_path / "whole", size=len(content))
    assert (tmp_path / "whole").read_bytes() == content and freiburg.asked == []
    with pytest.raises(UserError, match=f"not the file it should be .{len(content) + 4} bytes instead of"):
        fetch.fetch(freiburg.base + ARCHIVE, tmp_path / "long", size=len(content))
    assert [p.name for p in tmp_path.iterdir()] == ["whole"]


@pytest.mark.parametrize("top", ["RHD_published_v2", "copy/RHD_published_v2", None])
def test_an_archive_of_rhd_that_is_here_already(freiburg, tmp_path, top):
    files = {name.replace("RHD_published_v2", top or ".", 1): content for name, content in rhd_files().items()}
    write(tmp_path, {"mine.zip": zipped(files)})
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence", "--archive", tmp_path / "mine.zip")
    assert result.exit_code == 0 and "rhd is complete" in result.output
    assert freiburg.asked == [] and not check.absent(rhd.expected(tmp_path / "rhd"))


def test_an_archive_joins_files_that_lie_without_their_top_folder(freiburg, tmp_path):
    top, lost = "RHD_published_v2/", "training/color/00002.png"
    write(tmp_path / "rhd", {n.removeprefix(top): c for n, c in rhd_files().items() if not n.endswith(lost)})
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert "2 files were unpacked" in result.output  # and the README, which lies above
    assert (tmp_path / "rhd" / lost).read_bytes() == rhd_files()[top + lost]


def test_rendered_people_go_from_the_archive_to_the_contact_sheet(freiburg, tmp_path):
    """The loader finds what the script has unpacked."""
    rhd_tree.write_rhd(tmp_path / "drawn", *COUNTS.values())
    write(tmp_path, {"mine.zip": zipped(contents(tmp_path / "drawn"))})
    folder = tmp_path / "rhd"
    assert get_rhd(freiburg, folder, "--accept-licence", "--archive", tmp_path / "mine.zip").exit_code == 0
    result = run(check, "rhd", "--root", folder, "--thorough", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0 and "Crops of 5 of them" in result.output
    assert np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).std() > 20


def test_a_damaged_archive_of_rhd_is_named(freiburg, tmp_path):
    content = bytearray(freiburg.files[ARCHIVE])
    place = content.index(b"anno_training.pickle") + 100
    content[place] ^= 255
    freiburg.files[ARCHIVE] = bytes(content)
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert re.search(r"RHD_v1-1\.zip is damaged: “RHD_published_v2/training/anno_training", str(result.exception))


def sequence_archives():
    """STB as it is handed out: archives of the first backgrounds without a folder, of the others with one."""
    files = stb_files()
    for sequence in SEQUENCES:
        top = "" if sequence[1] in "123" else f"{sequence}/"
        inside = {n.rpartition("/")[2]: c for n, c in files.items() if n.startswith(f"images/{sequence}/")}
        yield f"{sequence}.zip", zipped({top + name: content for name, content in inside.items()})
    yield "labels.zip", zipped({n: c for n, c in files.items() if n.startswith("labels/")})


def test_stb_says_how_it_is_to_be_had(small, tmp_path):
    result = run(download, "stb", "--root", tmp_path / "stb")
    assert result.exit_code == 2 and list(tmp_path.iterdir()) == []
    for words in ("https://github.com/zhjwustc/icip17", "--archive", f"{tmp_path}/stb/labels/B1Counting_BB.mat"):
        assert words in result.output


def test_stb_is_unpacked_from_archives_of_either_kind(small, tmp_path):
    write(tmp_path / "zips", dict(sequence_archives()))
    result = run(download, "stb", "--root", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert result.exit_code == 0, result
    assert "168 files were unpacked" in result.output and "stb is complete" in result.output
    assert contents(tmp_path / "stb") == stb_files()
    result = run(download, "stb", "--root", tmp_path / "stb")
    assert result.exit_code == 0 and "stb is complete" in result.output


def test_stb_is_unpacked_archive_by_archive(small, tmp_path):
    write(tmp_path, dict(sequence_archives()))
    (tmp_path / "B1Counting.zip").rename(tmp_path / "B1Counting (1).zip")
    (tmp_path / "B6Random.zip").rename(tmp_path / "the last.zip")  # its folder tells
    one = run(download, "stb", "--root", tmp_path / "stb", "--archive", tmp_path / "B1Counting (1).zip")
    assert "12 files were unpacked" in one.output and "156 of its 168 files are missing" in one.output
    rest = [("--archive", path) for path in tmp_path.glob("*.zip")]
    assert "156 files" in run(download, "stb", "--root", tmp_path / "stb", *[a for pair in rest for a in pair]).output
    assert contents(tmp_path / "stb") == stb_files()


def test_stb_joins_what_lies_there_in_another_layout(small, tmp_path):
    here = {n.removeprefix("images/"): c for n, c in stb_files().items() if "BB_left_2" not in n}
    write(tmp_path / "stb", here)
    write(tmp_path / "zips", dict(sequence_archives()))
    run(download, "stb", "--root", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert contents(tmp_path / "stb") == {n.removeprefix("images/"): c for n, c in stb_files().items()}


@pytest.mark.parametrize("name, files, message", [
    ("pictures.zip", {"BB_left_0.png": b"1"}, "does not tell which sequence its “BB_left_0.png” is of"),
    ("STB.zip", {"STB/B1Counting.zip": b"1"}, r"holds other archives, such as “STB/B1Counting\.zip”"),
    ("B1Counting.zip", {"../../B1Counting/BB_left_0.png": b"1"}, "leads out of the folder"),
    ("B1Counting.zip", {"BB_left_0.png": b"1", "../notes.txt": b"1"}, r"“\.\./notes\.txt” in it leads out"),
    ("B1Counting.zip", {"BB_left_3.png": b"beyond the last"}, "holds no file of the data set"),
])  # fmt: skip
def test_archives_that_are_not_stbs_are_refused(small, tmp_path, name, files, message):
    write(tmp_path, {name: zipped(files)})
    result = run(download, "stb", "--root", tmp_path / "stb", "--archive", tmp_path / name)
    assert re.search(message, str(result.exception)) and isinstance(result.exception, UserError)
    assert {p.name for p in tmp_path.iterdir()} <= {name, "stb.lock"}


def test_a_folder_without_archives_and_a_busy_one_are_refused(small, tmp_path):
    (tmp_path / "zips").mkdir()
    result = run(download, "stb", "--root", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert "holds no zip file" in str(result.exception)
    write(tmp_path / "zips", dict(sequence_archives()))
    with filelock.FileLock(tmp_path / "stb.lock"):
        result = run(download, "stb", "--root", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert "Another process is at work" in str(result.exception) and not (tmp_path / "stb").exists()


def complaint(name, folder, *arguments):
    result = run(check, name, "--root", folder, *arguments)
    assert result.exit_code == 1 and isinstance(result.exception, UserError)
    return str(result.exception)


def test_check_says_what_of_stb_is_missing(small, tmp_path):
    write(tmp_path, stb_files())
    assert "is complete: all 168 files are there" in run(check, "stb", "--root", tmp_path).output
    shutil.rmtree(tmp_path / "images/B3Random")
    for view in ("BB_left", "SK_depth"):
        (tmp_path / f"images/B1Counting/{view}_1.png").unlink()
    (tmp_path / "labels/B2Random_SK.mat").unlink()
    assert complaint("stb", tmp_path) == (
        f"stb in {tmp_path} is not complete: 15 of its 168 files are missing: everything in images/B3Random, "
        "1 of 24 labels/*.mat (B2Random_SK.mat), 1 of 3 images/B1Counting/BB_left_*.png (BB_left_1.png), "
        "1 of 3 images/B1Counting/SK_depth_*.png (SK_depth_1.png). `python -m data_scripts.download stb` says where "
        "its archives are to be had, and unpacks what is wanting."
    )


def test_check_can_leave_out_the_depth_camera(small, tmp_path):
    write(tmp_path, {name: content for name, content in stb_files().items() if "SK_" not in name})
    assert "The stereo pairs (BB) are all there" in complaint("stb", tmp_path)
    result = run(check, "stb", "--root", tmp_path, "--view", "BB_left", "--view", "BB_right")
    assert result.exit_code == 0 and "all 84 files are there" in result.output
    with pytest.raises(UserError, match="--view is for stb"):
        raise run(check, "rhd", "--view", "BB_left").exception


def test_check_says_what_of_rhd_is_missing(small, tmp_path):
    write(tmp_path, rhd_files())
    (tmp_path / "RHD_published_v2/training/anno_training.pickle").unlink()
    (tmp_path / "RHD_published_v2/evaluation/mask/00001.png").unlink()
    assert complaint("rhd", tmp_path) == (
        f"rhd in {tmp_path} is not complete: 2 of its 17 files are missing: "
        "RHD_published_v2/training/anno_training.pickle, 1 of 2 RHD_published_v2/evaluation/mask/*.png (00001.png). "
        "Delete what is damaged, and run `python -m data_scripts.download rhd --accept-licence`: it goes on from what "
        "is there."
    )
    assert "none of its 17 files is there" in complaint("rhd", tmp_path / "nothing")


class Harmful:
    def __reduce__(self):
        return print, ("the pickle ran",)


@pytest.mark.parametrize("name, file, damage", [
    ("stb", "images/B5Random/SK_color_2.png", lambda content: content[: len(content) // 2]),
    ("stb", "images/B1Counting/BB_left_0.png", lambda content: b""),
    ("stb", "labels/B6Random_BB.mat", lambda content: content[:200]),
    ("rhd", "RHD_published_v2/training/depth/00000.png", lambda content: b"no image"),
    ("rhd", "RHD_published_v2/evaluation/anno_evaluation.pickle", lambda content: content[:-9]),
    ("rhd", "RHD_published_v2/evaluation/anno_evaluation.pickle", lambda content: pickle.dumps(Harmful())),
])  # fmt: skip
def test_check_finds_what_is_damaged(small, tmp_path, capsys, name, file, damage):
    files = stb_files() if name == "stb" else rhd_files()
    write(tmp_path, files | {file: damage(files[file])})
    said = complaint(name, tmp_path)
    assert f"1 file is damaged ({file}): {tmp_path / file} " in said and "Delete what is damaged first" in said
    assert "the pickle ran" not in capsys.readouterr().out


def test_check_counts_the_labels_of_rhd(small, tmp_path):
    write(tmp_path, rhd_files())
    path = tmp_path / "RHD_published_v2/training/anno_training.pickle"
    entries = pickle.loads(path.read_bytes())
    del entries[1]
    path.write_bytes(pickle.dumps(entries))
    assert "has the labels of 2 images instead of 3" in complaint("rhd", tmp_path)


def test_check_opens_a_sample_spread_over_the_images_or_all_of_them(small, tmp_path, monkeypatch):
    files = stb_files()
    write(tmp_path, files)
    monkeypatch.setattr(check, "SAMPLE", 2)  # so that it opens the first and the last of each kind
    assert "none of the 120 that were opened is damaged; --thorough" in run(check, "stb", "--root", tmp_path).output
    (tmp_path / "images/B4Random/BB_right_1.png").write_bytes(b"")
    assert run(check, "stb", "--root", tmp_path).exit_code == 0
    assert "images/B4Random/BB_right_1.png" in complaint("stb", tmp_path, "--thorough")


def test_check_knows_the_one_published_label_file(small, tmp_path, monkeypatch):
    write(tmp_path, stb_files())
    digest = hashlib.sha256(stb_files()["labels/B1Counting_BB.mat"]).hexdigest()
    monkeypatch.setattr(check, "STB_LABELS", {"B1Counting_BB.mat": digest})
    assert run(check, "stb", "--root", tmp_path).exit_code == 0
    monkeypatch.setattr(check, "STB_LABELS", {"B1Counting_BB.mat": "0" * 64})
    assert "B1Counting_BB.mat can be read, but is not the published file" in complaint("stb", tmp_path)


@pytest.mark.real_data("stb")
def test_check_of_the_real_stb():
    """Whole where it is, and else a paragraph that says how much of it is missing, with nothing real called damaged."""
    folder = settings.data_root() / "stb"
    there = sum(len(list(folder.rglob(f"{view}_*.png"))) for view in stb.VIEWS) + len(list(folder.rglob("B*_??.mat")))
    result = run(check, "stb")
    if there == 72024:
        assert result.exit_code == 0 and "is complete: all 72024 files are there" in result.output
        return
    said = str(result.exception)
    assert result.exit_code == 1 and "damaged" not in said and "\n" not in said and len(said) < 1000
    assert said.startswith(f"stb in {folder} is not complete: {72024 - there} of its 72024 files are missing: ")
    if there == 2:  # one sequence's labels and one frame
        assert said.split("missing: ")[1].split(". `python")[0] == (
            "everything in 11 folders (images/B1Random, images/B2Counting, images/B2Random, …), "
            "23 of 24 labels/*.mat (B1Counting_SK.mat, B1Random_BB.mat, B1Random_SK.mat, …), "
            "1499 of 1500 images/B1Counting/BB_left_*.png (BB_left_1.png, BB_left_2.png, BB_left_3.png, …), "
            "all 1500 images/B1Counting/BB_right_*.png, all 1500 images/B1Counting/SK_color_*.png, "
            "all 1500 images/B1Counting/SK_depth_*.png"
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
