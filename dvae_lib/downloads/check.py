"""Checks that a data set on disk is complete and that its files can be read: `dvae check stb`."""

import functools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dvae_lib import settings
from dvae_lib.datasets import digits, open_source, rhd, stb
from dvae_lib.datasets.rhd_labels import read_labels as read_rhd_labels
from dvae_lib.downloads.fetch import read_hashes, verify
from dvae_lib.files import UserError, absent, read_image, sha256
from dvae_lib.plots.samples import save_contact_sheet
from dvae_lib.settings import DOWNLOAD

HASHES = {name: Path(__file__).with_name(f"{name}.sha256") for name in ("realhand", "digits", "detector", "camera")}
# The only label file whose hash is known: no list of hashes was published.
STB_LABELS = {"B1Counting_BB.mat": "e26578ab5e5d7a5462a9cc97a846373a2fd7ed24a84c26a49772845ec76e38d5"}
SAMPLE = 300  # images to open, spread over the data set, unless all are opened
THREADS = 8
EXPECTED: dict[str, Callable[[Path], list[Path]]] = {"rhd": rhd.expected, "stb": stb.expected}
STEREO = ("BB_left", "BB_right")
CONTENT = {
    "realhand": "583 photographs with their poses",
    "digits": "2062 photographs of hands",
    "detector": "two networks that detect hands and predict their joints",
    "camera": "the script and networks that detect hands in a reader's camera",
}
ADVICE = {
    "realhand": f"Run `{DOWNLOAD['realhand']}` to fetch what is missing or damaged.",
    "digits": f"Run `{DOWNLOAD['digits']}` to fetch what is missing or damaged.",
    "detector": f"Run `{DOWNLOAD['detector']}` to fetch what is missing or damaged.",
    "camera": f"Run `{DOWNLOAD['camera']}` to fetch what is missing or damaged.",
    "rhd": f"Run `{DOWNLOAD['rhd']}` to fetch what is missing.",
    "stb": f"`{DOWNLOAD['stb']}` shows where its archives are, and unpacks what is missing.",
}


def inspect(name: str, folder: Path, files: list[Path], thorough: bool = False) -> str:
    """States that a folder contains all files of a data set, undamaged, or raises UserError with all problems.

    Opens every label file, and all images if `thorough`, otherwise a sample of them.
    """
    missing = absent(files)
    gone = set(missing)
    opened = _chosen([path for path in files if path not in gone], thorough)
    damaged = _damaged(opened)
    wrong = [describe(folder, files, missing)] if missing else []
    if damaged:
        names = [str(path.relative_to(folder)) for path in damaged]
        wrong.append(f"of the {len(opened)} files opened, {_some(names, 'damaged')}: {next(iter(damaged.values()))}")
    if wrong:
        advice = "Delete the damaged files first. " if damaged else ""
        if name == "stb" and not absent(stb.expected(folder, STEREO)):
            advice += "The stereo pairs (BB) are complete; --view BB_left --view BB_right checks only these. "
        advice += ADVICE[name]
        raise UserError(f"{name} in {folder} is not complete: {'; '.join(wrong).rstrip('.')}. {advice}")
    more = "" if thorough else "; --thorough opens them all"
    return (
        f"{name} in {folder} is complete: all {len(files)} files exist, and none of the {len(opened)} that were "
        f"opened is damaged{more}."
    )


def inspect_hashes(name: str, folder: Path) -> str:
    """The same for a data set whose hashes are known."""
    missing, damaged = verify(folder, read_hashes(HASHES[name]))
    wrong = [_some(missing, "missing")] if missing else []
    wrong += [_some(damaged, "not as published")] if damaged else []
    if wrong:
        raise UserError(f"{name} in {folder} is not complete: {' and '.join(wrong)}. {ADVICE[name]}")
    return f"{name} in {folder} is complete: {CONTENT[name]}, every file as published."


def describe(folder: Path, files: list[Path], missing: list[Path]) -> str:
    """A readable summary of what is missing: whole folders by name, then files by kind, with numbers and examples."""
    if len(missing) == len(files):
        return f"none of its {len(files)} files exists"
    all_in, gone_in = (Counter(path.parent for path in paths) for paths in (files, missing))
    empty = [path for path in all_in if gone_in[path] == all_in[path] > 1]
    some = [f"everything in {_few([str(path.relative_to(folder)) for path in empty], 'folders')}"] if empty else []
    kinds, folders = defaultdict(list), set(empty)
    for path in missing:
        if path.parent not in folders:
            kinds[_kind(folder, path)].append(path)
    total = Counter(_kind(folder, path) for path in files)
    for kind, paths in kinds.items():
        if total[kind] == 1:
            some.append(str(paths[0].relative_to(folder)))
        elif len(paths) == total[kind]:
            some.append(f"all {len(paths)} {kind}")
        else:
            some.append(f"{len(paths)} of {total[kind]} {kind} ({_few([path.name for path in paths])})")
    return f"{len(missing)} of its {len(files)} files are missing: {', '.join(some)}"


def _kind(folder: Path, path: Path) -> str:
    """The pattern of files that differ only in a number at the end, such as “images/B1Counting/BB_left_*.png”."""
    stem, _, suffix = path.name.rpartition(".")
    kind = stem.rstrip("0123456789")
    return f"{_below(folder, path.parent)}/{'' if kind == stem else kind}*.{suffix}"


@functools.cache
def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix()


def _few(names: list[str], what: str = "") -> str:
    few = ", ".join(names[:3])
    if len(names) <= 3:
        return few
    return f"{len(names)} {what} ({few}, …)" if what else f"{few}, …"


def _some(names: list[str], what: str) -> str:
    return f"{len(names)} {'file is' if len(names) == 1 else 'files are'} {what} ({_few(names)})"


def _chosen(files: list[Path], thorough: bool) -> list[Path]:
    """The files to open: labels, and some images of every kind, evenly spread, including the first and the last."""
    images = defaultdict(list)
    for path in files:
        if path.suffix == ".png":
            images[path.parent, _kind(path.parent, path)].append(path)
    labels = [path for path in files if path.suffix != ".png"]
    each = max(2, SAMPLE // max(1, len(images)))
    for paths in images.values():
        labels += paths if thorough else [paths[i] for i in _spread(len(paths), each)]
    return labels


def _spread(count: int, wanted: int) -> list[int]:
    return sorted(set(np.linspace(0, count - 1, min(count, wanted)).astype(int).tolist()))


def _damaged(files: list[Path]) -> dict[Path, str]:
    """The errors of those files that cannot be read."""
    bar = functools.partial(tqdm, total=len(files), desc="Opening files", unit="file", leave=False, disable=not files)
    with ThreadPoolExecutor(THREADS) as pool:
        return {path: error for path, error in zip(files, bar(pool.map(_error, files)), strict=True) if error}


def _error(path: Path) -> str | None:
    try:
        if path.suffix == ".png":
            read_image(path)
        elif path.suffix == ".mat":
            stb.read_labels(path)
            if path.name in STB_LABELS and sha256(path) != STB_LABELS[path.name]:
                return f"{path} can be read, but is not the published file."
        else:
            count, published = len(read_rhd_labels(path)), rhd.COUNTS[path.parent.name]
            if count != published:
                return f"{path} has the labels of {count} images instead of {published}."
    except UserError as error:
        return str(error)
    return None


def check(
    name: str,
    folder: Path | None = None,
    thorough: bool = False,
    views: Sequence[str] | None = None,
    sheet: Path | None = None,
    size: int = 128,
) -> None:
    """Prints that a data set is complete, or raises UserError with all problems (`dvae check`).

    folder: that of the data set; DVAE_DATA_ROOT/<name> by default. views: those of stb to check; all by default.
    sheet: a PNG file to write, with 48 of the samples and their joints, in crops of `size` pixels.
    """
    folder = folder or settings.downloaded(name)
    if name not in DOWNLOAD:
        raise UserError(f"“{name}” has no files to check: choose one of {', '.join(DOWNLOAD)}.")
    if views and (name != "stb" or not set(views) <= set(stb.VIEWS)):
        raise UserError(f"--view is for stb, which has the views {', '.join(stb.VIEWS)}.")
    if sheet and list(views or ()) == ["SK_depth"]:
        raise UserError("--sheet draws joints on colour images, which SK_depth does not have: choose another view.")
    if sheet and name in ("detector", "camera"):
        raise UserError(f"--sheet shows photographs, but {name} has none: leave it out.")
    if name in HASHES:
        print(inspect_hashes(name, folder))
    else:
        files = stb.expected(folder, views) if views else EXPECTED[name](folder)
        print(inspect(name, folder, files, thorough))
    if name == "digits":
        for doubt in digits.doubts(digits.listed()):
            print(f"Note: {doubt}.")
    if sheet:
        source = open_source(name, folder=folder, **({"views": views} if views else {}))
        samples = source.read(np.array(_spread(len(source), 48)), size)
        save_contact_sheet(samples, sheet, size)
        print(f"{sheet} shows crops of {len(samples['pose'])} of them with their joints.")
