"""The cache holds what its source delivered, survives kills, full disks and second processes, and stays small."""

import errno
import json
import multiprocessing
import os
import pickle
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from dvae_lib.datasets import dataset as module
from dvae_lib.files import UserError

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="/proc tells a process's memory on Linux only")


class Numbered:
    """A source whose values are functions of the index; every block it is asked for is noted in a file."""

    name = "numbered"
    sequences = ["only"]

    def __init__(self, log: Path, count: int = 10, die_at: int | None = None, seed: int = 0):
        self.log, self.count, self.die_at = log, count, die_at
        self.fingerprint = {"seed": seed}

    def __len__(self):
        return self.count

    def fields(self, size):
        return {
            "image": ((3, size, size), np.dtype(np.uint8)),
            "pose": ((21, 3), np.dtype(np.float32)),
            "right": ((), np.dtype(bool)),
        }

    def read(self, indices, size):
        if self.die_at in indices:
            # A process that dies has written no more than this.
            self.left = [path.read_text() for path in self.log.parent.glob(f"cache/*/{module.PROGRESS}")]
            raise KeyboardInterrupt
        with open(self.log, "a") as log:
            log.write(f"{indices[0]}\n")
        return {
            "image": np.broadcast_to(indices[:, None, None, None], (len(indices), 3, size, size)).astype(np.uint8),
            "pose": np.broadcast_to(indices[:, None, None] + 0.5, (len(indices), 21, 3)).astype(np.float32),
            "right": indices % 3 == 0,
        }


@pytest.fixture
def blocks_of_4(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)


def prepare(tmp_path, **options):
    return module.prepare(Numbered(tmp_path / "reads", **options), 8, tmp_path / "cache", progress=False)


def reads(tmp_path):
    return [int(line) for line in (tmp_path / "reads").read_text().split()]


def assert_whole(dataset, count=10):
    n = np.arange(count)
    assert len(dataset) == count
    np.testing.assert_array_equal(dataset["image"][:, 1, 2, 3], n)
    np.testing.assert_array_equal(dataset["pose"][:, 20, 2], n + 0.5)
    np.testing.assert_array_equal(dataset["right"], n % 3 == 0)


def test_holds_what_the_source_delivers_and_is_read_only(tmp_path, blocks_of_4):
    dataset = prepare(tmp_path)
    assert_whole(dataset)
    assert reads(tmp_path) == [0, 4, 8]
    assert isinstance(dataset["image"], np.memmap)
    with pytest.raises(ValueError):
        dataset["pose"][0] = 0


def test_prepared_once_and_anew_only_for_another_recipe(tmp_path):
    first, again, other = prepare(tmp_path), prepare(tmp_path), prepare(tmp_path, seed=1)
    assert reads(tmp_path) == [0, 0]
    assert first.folder == again.folder != other.folder


def test_manifest_says_what_lies_there(tmp_path):
    dataset = prepare(tmp_path)
    manifest = json.loads((dataset.folder / "manifest.json").read_text())
    assert manifest["fields"]["pose"] == {"shape": [21, 3], "dtype": "<f4", "unit": "mm, camera frame"}
    assert (manifest["source"], manifest["size"], manifest["count"]) == ("numbered", 8, 10)
    assert manifest["fingerprint"] == {"seed": 0}
    assert dataset.folder.name == f"numbered-8px-{manifest['hash'][:8]}"


def test_killed_preparation_goes_on_at_the_last_finished_block(tmp_path, blocks_of_4):
    for die_at in (5, 9):
        with pytest.raises(KeyboardInterrupt):
            prepare(tmp_path, die_at=die_at)
        (partial,) = (tmp_path / "cache").glob("*.partial")
        with open(partial / module.PROGRESS, "a") as log:
            log.write("1")  # a line that the kill cut short
    assert_whole(prepare(tmp_path))
    assert reads(tmp_path) == [0, 4, 8]
    assert not partial.exists()


def test_a_second_kill_loses_nothing_of_what_the_first_left(tmp_path, blocks_of_4):
    for die_at in (9, 8):
        source = Numbered(tmp_path / "reads", die_at=die_at)
        with pytest.raises(KeyboardInterrupt):
            module.prepare(source, 8, tmp_path / "cache", progress=False)
    assert source.left == ["8\n"]


def test_folder_without_manifest_is_not_taken_for_whole(tmp_path):
    folder = prepare(tmp_path).folder
    (folder / "manifest.json").unlink()
    np.save(folder / "image.npy", np.zeros(3))
    with pytest.raises(UserError, match="manifest.json does not exist"):
        module.Dataset(folder)
    assert_whole(prepare(tmp_path))


@pytest.mark.parametrize(
    "damage", [lambda f: f.write_bytes(f.read_bytes()[:-1]), Path.unlink, lambda f: f.write_text("")]
)
def test_damaged_array_is_named(tmp_path, damage):
    folder = prepare(tmp_path).folder
    damage(folder / "image.npy")
    with pytest.raises(UserError, match=r"image\.npy is damaged or missing.* Delete the folder"):
        module.Dataset(folder)


def test_values_that_are_no_numbers_are_refused(tmp_path):
    class Broken(Numbered):
        def read(self, indices, size):
            block = super().read(indices, size)
            block["pose"][7, 3] = np.nan
            return block

    with pytest.raises(UserError, match="numbered, sample 7: “pose” contains a value that is not a number"):
        module.prepare(Broken(tmp_path / "reads"), 8, tmp_path / "cache", progress=False)
    assert not list((tmp_path / "cache").glob("*/manifest.json"))


def test_full_disk_is_explained_and_what_is_finished_is_kept(tmp_path, blocks_of_4, monkeypatch):
    calls = 0

    def fsync(file):
        nonlocal calls
        calls += 1
        if calls > 3:  # three fields: the first block is written, the second is not
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        full.setattr(os, "fsync", fsync)
        with pytest.raises(UserError, match=r"disk is full.* GB in .*DVAE_CACHE_ROOT"):
            prepare(tmp_path)
    assert_whole(prepare(tmp_path))
    assert reads(tmp_path) == [0, 4, 4, 8]


def test_too_little_room_is_said_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 4000))
    with pytest.raises(UserError, match="Only 0.00 GB are free, but numbered at 8 pixels"):
        prepare(tmp_path)
    assert not (tmp_path / "reads").exists()


def test_a_cache_that_cannot_be_is_said(tmp_path):
    (tmp_path / "cache").touch()
    with pytest.raises(UserError, match="cache is a file where .* needs a folder"):
        prepare(tmp_path)


def _prepare_at_once(folder, gate):
    gate.wait()
    module.prepare(Numbered(folder / "reads", count=5000), 8, folder / "cache", progress=False)


@pytest.mark.slow
def test_two_processes_prepare_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    gate = spawn.Barrier(2)
    workers = [spawn.Process(target=_prepare_at_once, args=(tmp_path, gate)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert reads(tmp_path) == list(range(0, 5000, module.BLOCK))


@pytest.mark.parametrize("field", ["image", "pose", "right"])
def test_gather_copies_the_samples_asked_for(tmp_path, field):
    dataset = prepare(tmp_path)
    indices = np.array([7, 2, 2, -1])
    rows = dataset.gather(field, indices)
    np.testing.assert_array_equal(rows, dataset[field][indices])
    assert type(rows) is np.ndarray and rows.dtype == dataset[field].dtype
    rows[:] = 0
    assert_whole(dataset)
    with pytest.raises(IndexError):
        dataset.gather(field, np.array([10]))


def test_pickles_as_its_folder(tmp_path):
    """A worker process of a data loader opens the files; it is not sent the arrays."""
    content = pickle.dumps(prepare(tmp_path))
    assert len(content) < 1000
    assert_whole(pickle.loads(content))


def _resident_file_pages() -> int:
    """Bytes of mapped files that count as this process's memory."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("RssFile:")[1].split()[0])


@linux_only
def test_gathering_everything_leaves_the_files_out_of_memory(tmp_path):
    dataset = module.prepare(Numbered(tmp_path / "reads", count=500), 128, tmp_path / "cache", progress=False)
    total, before = dataset["image"].nbytes, _resident_file_pages()
    for start in range(0, 500, 50):
        dataset.gather("image", np.arange(start, start + 50))
    assert _resident_file_pages() - before < 0.1 * total
    assert dataset["image"][:].sum() > 0  # the map, in contrast, holds all it has shown
    assert _resident_file_pages() - before > 0.9 * total
