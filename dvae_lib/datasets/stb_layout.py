"""The locations of the files in an unpacked copy of STB (chapter 2).

The archives were packed inconsistently. The folders “images” and “labels” may exist or not, a folder may contain one of
the same name that contains the files, and labels may be beside the images; but images are always in, or below, a folder
named after their sequence, and every file keeps its name.
"""

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dvae_lib import settings
from dvae_lib.files import UserError

SEQUENCES = [f"B{background}{kind}" for background in range(1, 7) for kind in ("Counting", "Random")]
ADVICE = f"Delete what is damaged; `{settings.DOWNLOAD['stb']}` then shows how to get what is missing."
_LEVELS = 4  # how deep folders are searched: top/STB/images/B4Counting/B4Counting

_Folders = dict[tuple[str, str], Path]


class Layout:
    """The files below `top`. If two folders contain a view of a sequence, the one with more images counts, and with
    equally many the upper one.

    `path in layout` states whether a file was found, without accessing the disk again.
    """

    def __init__(self, top: Path):
        self.top = top
        self._names = _list(top)
        self._images: _Folders = {}  # by sequence and view
        self._labels: _Folders = {}  # by sequence and camera, “BB” or “SK”
        most: Counter[tuple[str, str]] = Counter()
        for folder, names in self._names.items():
            above = [part for part in folder.relative_to(top).parts if part in SEQUENCES]
            views = Counter(name.rpartition("_")[0] for name in names if above and name.endswith(".png"))
            for view, count in views.items():
                if count > most[above[-1], view]:
                    most[above[-1], view], self._images[above[-1], view] = count, folder
            for name in names:
                sequence, _, camera = name.removesuffix(".mat").rpartition("_")
                if sequence in SEQUENCES and name.endswith(".mat"):
                    self._labels.setdefault((sequence, camera), folder)

    def __contains__(self, path: Path) -> bool:
        return path.name in self._names.get(path.parent, ())

    def images(self, sequence: str, view: str, frames: Iterable[int]) -> list[Path]:
        """The paths of a view's images, where they are or should be."""
        folder = self._folder(self._images, sequence, view, f"images/{sequence}")
        return [folder / f"{view}_{frame}.png" for frame in frames]

    def label(self, sequence: str, camera: str) -> Path:
        """The path of a label file, where it is or should be."""
        return self._folder(self._labels, sequence, camera, "labels") / f"{sequence}_{camera}.mat"

    def _folder(self, found: _Folders, sequence: str, what: str, default: str) -> Path:
        """The folder of some files or, if they are missing, the corresponding one beside the files of the same sequence
        or, if there are none, of another sequence.
        """
        if (sequence, what) in found:
            return found[sequence, what]
        if not found:
            return self.top / default
        like = min(found, key=lambda key: key[0] != sequence)
        parts = found[like].relative_to(self.top).parts
        return self.top.joinpath(*(sequence if part == like[0] else part for part in parts))

    def check(self, sequences: list[str], views: list[str], cameras: list[str]) -> None:
        """Raises UserError unless each of the sequences has images of these views and labels of these cameras."""
        if not self.top.is_dir():
            raise UserError(f"{self.top} does not exist; it should contain the STB data set. {ADVICE}")
        looked = ", ".join(map(str, list(self._names)[:5])) + (", …" if len(self._names) > 5 else "")
        advice = f"Looked in {looked}, {_LEVELS} levels deep. {ADVICE}"
        if not {view for _, view in self._images} & {*views}:
            raise UserError(
                f"{self.top} is not the STB data set: no folder is named after one of its sequences, such as "
                f"B1Counting, and contains images such as {views[0]}_0.png. {advice}"
            )
        for sequence in sequences:
            images = [self.images(sequence, view, [0])[0] for view in views if (sequence, view) not in self._images]
            labels = [self.label(sequence, camera) for camera in cameras if (sequence, camera) not in self._labels]
            if missing := images + labels:
                raise UserError(f"{missing[0]} is missing. {advice}")


def _list(top: Path) -> dict[Path, frozenset[str]]:
    """The names of the files in a folder and in those below it, upper folders first."""
    names = {}
    for folder, below, files in os.walk(top, followlinks=True):
        path = Path(folder)
        deep = len(path.relative_to(top).parts) >= _LEVELS
        below[:] = [] if deep else [name for name in below if not name.startswith(".")]
        names[path] = frozenset(files)
    return dict(sorted(names.items(), key=lambda item: (len(item[0].parts), item[0])))
