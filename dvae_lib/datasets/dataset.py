r"""A data set, prepared once and stored as memory-mapped arrays in a folder (chapter 2).

Every data set has one array per field, with the samples along the first axis; a crop has S × S pixels:

| field | dtype, shape of a sample | unit |
|---|---|---|
| `image` | uint8 (3, S, S) | RGB |
| `depth` | uint16 (S, S) | mm along z, 0 = unknown (optional) |
| `mask` | uint8 (S, S) | RHD's part ids: 0 background, 1 person, 2–17 left hand, 18–33 right hand (optional) |
| `pose` | float32 (21, 3) | mm in the camera's frame, joint 0 the wrist |
| `palm` | float32 (3,) | mm: the labelled palm centre (optional; default: the midpoint of wrist and middle MCP) |
| `K` | float32 (3, 3) | pixels: camera of the crop, which spans [0, S]; pixel centres are at + ½ |
| `visible` | bool (21,) | joints that are included in the evaluation |
| `right` | bool () | true for a right hand |
| `sequence`, `frame` | int32 () | position in the data set; `sequence` indexes `Dataset.sequences` |
| `content` | int32 () | id of the background (optional) |

Rendered data sets add the factors that they were rendered from; STB adds the camera (`view`), and its depth camera has
no `image`.
2D keypoints are not stored: they are `project(pose, K)`.
"""

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO, Protocol, runtime_checkable

import numpy as np
from tqdm import tqdm

from dvae_lib import settings
from dvae_lib.files import UserError, exclusive_lock, explain_os_errors, read_json, write_json

MANIFEST, PROGRESS = "manifest.json", "progress.txt"
RECIPE = 1  # of this module; increased when the same source must be prepared again
BLOCK = 256  # samples read and written at a time, and lost at most if the process is killed
UNITS = {
    "image": "RGB, 0–255",
    "depth": "mm along z, 0 = unknown",
    "mask": "part ids of RHD",
    "pose": "mm, camera frame",
    "palm": "mm, camera frame",
    "K": "pixels of the crop",
}

Fields = dict[str, tuple[tuple[int, ...], np.dtype]]


def schema(size: int, *names: str) -> Fields:
    """Shape and dtype of the named fields of the table above, for crops of `size` pixels."""
    shapes: dict[str, tuple[tuple[int, ...], type]] = {
        "image": ((3, size, size), np.uint8),
        "depth": ((size, size), np.uint16),
        "mask": ((size, size), np.uint8),
        "pose": ((21, 3), np.float32),
        "palm": ((3,), np.float32),
        "K": ((3, 3), np.float32),
        "visible": ((21,), np.bool_),
        "right": ((), np.bool_),
        **dict.fromkeys(("sequence", "frame", "content"), ((), np.int32)),
    }
    return {name: (shapes[name][0], np.dtype(shapes[name][1])) for name in names}


@runtime_checkable
class Source(Protocol):
    """A source of samples: files or a renderer. `prepare` makes a `Dataset` of it."""

    name: str
    fingerprint: dict  # JSON-serialisable; all that determines the content: recipe, seed, counts, file hashes
    sequences: list[str]

    def __len__(self) -> int: ...

    def fields(self, size: int) -> Fields:
        """Shape and dtype of one sample's fields, for crops of `size` pixels."""

    def read(self, indices: np.ndarray, size: int) -> dict[str, np.ndarray]:
        """The samples `indices` (n,), each field (n, …), cropped to `size` pixels."""


class Dataset:
    """A prepared data set: `dataset["pose"]` is a read-only array on disk, `gather` copies samples out of it.

    Raises UserError if the folder is not a complete prepared data set.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.manifest = read_json(self.folder / MANIFEST)
        self.name: str = self.manifest["source"]
        self.size: int = self.manifest["size"]
        self.sequences: list[str] = self.manifest["sequences"]
        self.arrays = {field: self._open(field) for field in self.manifest["fields"]}

    def _open(self, field: str) -> np.memmap:
        path, expected = self.folder / f"{field}.npy", self.manifest["fields"][field]
        shape = (len(self), *expected["shape"])
        try:
            array = np.load(path, mmap_mode="r")
            if (array.shape, array.dtype) != (shape, np.dtype(expected["dtype"])):
                raise ValueError(f"it contains {array.dtype} {array.shape} instead of {expected['dtype']} {shape}")
        except (OSError, EOFError, ValueError) as error:
            raise UserError(
                f"{path} is damaged or missing ({error}). Delete the folder {self.folder}: "
                "it is prepared again when it is next needed."
            ) from error
        return array

    def __len__(self) -> int:
        return self.manifest["count"]

    def __getitem__(self, field: str) -> np.ndarray:
        return self.arrays[field]

    def __reduce__(self):  # worker processes reopen the files; pickling would copy whole arrays
        return Dataset, (self.folder,)

    def gather(self, field: str, indices: np.ndarray) -> np.ndarray:
        """A copy (n, …) of the samples `indices` (n,) of one field.

        They are read from the file, not from the memory map: accessing one sample of a map loads the pages around
        it, up to 2 MB where the system uses large pages for files, into this process's memory, so that a few
        hundred random samples would load all of a large field.
        """
        array, indices = self.arrays[field], np.arange(len(self))[indices]
        samples = np.empty((len(indices), *array.shape[1:]), array.dtype)
        rows = samples.reshape(len(indices), -1).view(np.uint8)
        with open(self.folder / f"{field}.npy", "rb", buffering=0) as file:
            for row, index in zip(rows, indices.tolist(), strict=True):
                file.seek(array.offset + index * row.nbytes)
                file.readinto(row.data)
        return samples


def prepare(source: Source, size: int, cache: Path | None = None, progress: bool = True) -> Dataset:
    """The data set of `source` with crops of `size` pixels; written by the first call, opened by all later ones.

    It is stored in <cache>/<name>-<size>px-<hash of the recipe>/, where cache is DVAE_CACHE_ROOT unless given. It is
    written block by block into a folder of that name with the suffix .partial, which is renamed when it is complete: a
    killed preparation continues after its last finished block. If several processes prepare it, one works and the
    others wait.

    Raises UserError if the disk is too full or cannot be written, or if the source returns values that are not finite
    numbers.
    """
    recipe = {
        "source": source.name,
        "recipe": RECIPE,
        "fingerprint": source.fingerprint,
        "size": size,
        "count": len(source),
        "sequences": source.sequences,
        "fields": {
            name: {"shape": list(shape), "dtype": np.dtype(dtype).str, "unit": UNITS.get(name, "")}
            for name, (shape, dtype) in source.fields(size).items()
        },
    }
    digest = hashlib.sha256(json.dumps(recipe, sort_keys=True).encode()).hexdigest()
    folder = Path(cache or settings.cache_root()) / f"{source.name}-{size}px-{digest[:8]}"
    if not (folder / MANIFEST).exists():
        waiting = f"Waiting for another process to prepare {folder} …"
        with exclusive_lock(folder.with_name(f"{folder.name}.lock"), waiting):
            if not (folder / MANIFEST).exists():  # unless another process prepared it while this one waited
                _write(source, recipe | {"hash": digest}, folder, progress)
    return Dataset(folder)


def _write(source: Source, recipe: dict[str, Any], folder: Path, progress: bool) -> None:
    """Fills the folder; the caller holds its lock."""
    partial, count, size = folder.with_name(f"{folder.name}.partial"), recipe["count"], recipe["size"]
    fields, done = source.fields(size), _finished(partial)
    needed = (count - done) * sum(math.prod(shape) * dtype.itemsize for shape, dtype in fields.values())
    room = (
        f"{source.name} at {size} pixels needs another {needed / 1e9:.2f} GB in {folder.parent}: free that much, or "
        "set DVAE_CACHE_ROOT to a folder on a larger disk"
    )
    with explain_os_errors(partial, kept=f"what is finished is kept. {room}"), contextlib.ExitStack() as stack:
        if (free := shutil.disk_usage(folder.parent).free) < needed:
            raise UserError(f"Only {free / 1e9:.2f} GB are free, but {room}.")
        partial.mkdir(exist_ok=True)
        files = {
            name: stack.enter_context(_npy(partial / f"{name}.npy", count, *fields[name], done)) for name in fields
        }
        log = stack.enter_context(open(partial / PROGRESS, "w", encoding="ascii"))
        print(done, file=log, flush=True)
        bar = tqdm(total=count, initial=done, desc=f"Preparing {source.name}", unit="image", disable=not progress)
        stack.enter_context(bar)
        for start in range(done, count, BLOCK):
            indices = np.arange(start, min(start + BLOCK, count))
            block = source.read(indices, size)
            for name, file in files.items():
                file.write(_checked(source.name, name, block[name], indices, *fields[name]).data)
            for file in files.values():
                file.flush()
                os.fsync(file.fileno())
            # The block is finished only now; a line that is incomplete after a kill does not count.
            print(indices[-1] + 1, file=log, flush=True)
            bar.update(len(indices))
        stack.close()  # Windows cannot rename a folder of open files
        write_json(partial / MANIFEST, recipe | {"created": datetime.now(timezone.utc).isoformat(timespec="seconds")})
        (partial / PROGRESS).unlink()
        if folder.exists():  # it has no manifest, otherwise it would have been opened: it is incomplete
            shutil.rmtree(folder)
        os.replace(partial, folder)


def _finished(partial: Path) -> int:
    """The number of samples that an earlier, killed preparation recorded as finished."""
    with explain_os_errors(partial):
        if not (partial / PROGRESS).exists():
            return 0
        text = (partial / PROGRESS).read_text(encoding="ascii", errors="replace")
    return max(map(int, re.findall(r"(?m)^(\d+)\n", text)), default=0)  # corrupt lines, after a power cut, do not count


def _npy(path: Path, count: int, shape: tuple[int, ...], dtype: np.dtype, done: int) -> BinaryIO:
    """An .npy file of `count` samples, open for writing after the first `done`.

    Written as a file, not through a memory map: a full disk raises an error on a write, but kills a process that
    writes to a map.
    """
    file = path.open("r+b" if path.exists() else "w+b")
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count, *shape)}
    np.lib.format.write_array_header_1_0(file, header)
    file.seek(done * math.prod(shape) * dtype.itemsize, os.SEEK_CUR)
    return file


def _checked(
    source: str, name: str, samples: np.ndarray, indices: np.ndarray, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    if samples.shape != (len(indices), *shape) or samples.dtype != dtype:
        raise ValueError(f"{source} returns “{name}” as {samples.dtype} {samples.shape}, not as declared by fields()")
    if dtype.kind == "f" and not np.isfinite(samples).all():
        bad = indices[~np.isfinite(samples).reshape(len(samples), -1).all(axis=1)]
        raise UserError(
            f"{source}, sample {bad[0]}: “{name}” contains a value that is not a number. Correct its label, or fetch "
            "it again."
        )
    return np.ascontiguousarray(samples)
