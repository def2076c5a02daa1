"""The drawings of `dvae predict`: their file names, and checks that no other file is overwritten."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dvae_lib.files import PHOTOGRAPHS, UserError, atomic_write
from dvae_lib.plots.hands import use_book_style
from dvae_lib.plots.photographs import draw_predictions
from dvae_lib.predict import Prediction

SHEET = "sheet.png"  # an overview of all drawings
_MARK = "dvae predict"  # the “Software” entry in the PNG of a drawing
_WIDTH, _COLUMNS, _MOST = 600, 3, 60  # of the sheet: pixels per drawing, drawings per row, and drawings in total


def is_drawing(path: Path) -> bool:
    """Whether a file is a drawing of `dvae predict`."""
    if path.suffix != ".png" or not path.is_file():
        return False
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == _MARK
    except Exception:  # decoders raise various exceptions for damaged files
        return False


def inputs(given: Sequence[Path]) -> list[Path]:
    """The given photographs and those in the given folders, each once, except drawings of `dvae predict` in folders.

    Raises UserError if a folder has no photographs, or if a drawing itself is given.
    """
    paths: list[Path] = []
    for path in given:
        inside = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in PHOTOGRAPHS)
            inside = [file for file in files if not is_drawing(file)]
            if not inside:
                raise UserError(f"{path} contains no photographs: name a folder that does, or files.")
        elif is_drawing(path):
            raise UserError(f"{path} is a drawing of `dvae predict`: name the original photograph.")
        paths += [file for file in inside if file not in paths]
    return paths


def targets(paths: Sequence[Path], folder: Path) -> list[Path]:
    """The path of the drawing of each photograph.

    Raises UserError if two drawings would have the same path, or if another file already exists there.
    """
    stems = Counter(path.stem for path in paths)
    if alike := [str(path) for path in paths if stems[path.stem] > 1]:
        raise UserError(
            f"{' and '.join(alike[:3])} would be drawn into the same file: process them separately, each with its own "
            "--out, or rename one."
        )
    made = [folder / f"{path.stem}-pose.png" for path in paths]
    for target in [*made, folder / SHEET]:
        if target.exists() and not is_drawing(target):
            raise UserError(
                f"{target} already exists and is not a drawing of `dvae predict`: choose another folder with --out."
            )
    return made


def save(predictions: Sequence[Prediction], target: Path) -> None:
    """Saves the drawing of the hands of one photograph."""
    with plt.style.context("default"), atomic_write(target) as temporary:  # ignores the user's matplotlibrc
        use_book_style()
        figure = draw_predictions(predictions)
        figure.savefig(temporary, metadata={"Software": _MARK})
        plt.close(figure)


def save_sheet(made: Sequence[Path], folder: Path) -> Path:
    """Saves an overview: the first drawings, side by side in one image."""
    small = []
    for path in made[:_MOST]:
        with Image.open(path) as image:
            small.append(image.convert("RGB").resize((_WIDTH, round(_WIDTH * image.height / image.width))))
    rows = [small[i : i + _COLUMNS] for i in range(0, len(small), _COLUMNS)]
    sheet = Image.new(
        "RGB", (_WIDTH * min(_COLUMNS, len(small)), sum(max(i.height for i in row) for row in rows)), "white"
    )
    top = 0
    for row in rows:
        for column, image in enumerate(row):
            sheet.paste(image, (_WIDTH * column, top))
        top += max(image.height for image in row)
    mark = PngInfo()
    mark.add_text("Software", _MARK)
    with atomic_write(folder / SHEET) as temporary:
        sheet.save(temporary, format="PNG", pnginfo=mark)
    return folder / SHEET
