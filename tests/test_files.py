"""What stops a file, in a sentence; nothing half written; and locks that say what they wait for."""

import errno
import os
import sys
from pathlib import Path
from threading import Event, Thread

import pytest

from dvae_lib import files
from dvae_lib.files import UserError, atomic_write, exclusive_lock, explain_os_errors, read_json, write_json


@pytest.mark.parametrize("number, message", [
    (errno.ENOSPC, r"The disk is full: folder.name could not be written\. Free .*; it is kept\. Do\."),
    (errno.EROFS, r"folder.name may not be read or written \(.*\): give yourself the right to.* Do\."),
    (errno.EACCES, r"folder.name may not be read or written \(.*\): give yourself the right to.* Do\."),
    (errno.EIO, r"folder.name cannot be read or written \(.*\): choose another name or folder\. Do\."),
    (errno.EINVAL, r"folder.name cannot be read or written \(.*\): choose another name or folder\. Do\."),
    (errno.ENOENT, r"folder.name does not exist\. Do\."),
])  # fmt: skip
def test_what_the_system_says_becomes_a_sentence(number, message):
    explained = explain_os_errors(Path("folder/name"), "Do.", kept="it is kept")
    with pytest.raises(UserError, match=f"^{message}$"), explained:
        raise OSError(number, os.strerror(number))


def test_errors_that_are_not_the_system_s_pass():
    with pytest.raises(OSError, match="cannot write mode P as JPEG"), explain_os_errors(Path("name")):
        raise OSError("cannot write mode P as JPEG")


@pytest.mark.parametrize("path, message", [
    ("file/name.json", r"file is a file where .*name\.json needs a folder: move it"),
    ("file/folder/name.json", r"file is a file where .*name\.json needs a folder: move it"),
    ("n" * 300, r"cannot be read or written \(.*\): choose another name"),
    ("folder", r"folder (cannot|may not) be read or written \(.*\)"),
])  # fmt: skip
def test_what_cannot_be_written_is_said_and_nothing_is_left(tmp_path, path, message):
    (tmp_path / "file").write_text("old")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=message):
        write_json(tmp_path / path, {})
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == "old"


def test_what_cannot_be_read_is_said(tmp_path):
    with pytest.raises(UserError, match=r"none\.json does not exist\.$"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UserError, match=rf"{tmp_path.name} (cannot|may not) be read"):
        read_json(tmp_path)


def test_the_longest_of_names_can_be_written(tmp_path):
    path = tmp_path / ("n" * 250 + ".json")
    write_json(path, [1])
    assert read_json(path) == [1] and list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows other rights")
def test_what_is_written_has_the_rights_of_any_new_file(tmp_path):
    (tmp_path / "ordinary").touch()
    write_json(tmp_path / "ours", {})
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_failure_leaves_the_old(tmp_path):
    write_json(tmp_path / "name.json", "old")
    with pytest.raises(ZeroDivisionError), atomic_write(tmp_path / "name.json") as temporary:
        temporary.write_text("new")
        assert temporary.suffix == ".json"  # by which writers choose a format
        raise ZeroDivisionError
    assert read_json(tmp_path / "name.json") == "old" and len(list(tmp_path.iterdir())) == 1


def test_who_comes_second_says_so_and_waits(tmp_path, monkeypatch):
    said, inside = Event(), Event()
    monkeypatch.setattr(files.tqdm, "write", lambda text, file: (text, file) == ("waiting", sys.stderr) and said.set())

    def second():
        with exclusive_lock(tmp_path / "folder/.lock", "waiting"):
            inside.set()

    thread = Thread(target=second)
    with exclusive_lock(tmp_path / "folder/.lock", "nothing to wait for"):
        assert not said.is_set()
        thread.start()
        assert said.wait(60) and not inside.is_set()
    thread.join()
    assert inside.is_set()


def test_a_lock_that_cannot_be_had_is_said(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(UserError, match="cache is a file where"), exclusive_lock(tmp_path / "cache/.lock", ""):
        pass
