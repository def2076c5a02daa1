"""The drawings that `dvae predict` leaves: which files they are, and that nothing else is ever overwritten."""

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

SHEET = "sheet.png"  # of all drawings
_MARK = "dvae predict"  # in a drawing's PNG, as the software that made it
_WIDTH, _COLUMNS, _MOST = 600, 3, 60  # of the sheet: pixels and number of drawings across, and drawings in all


def is_drawing(path: Path) -> bool:
    """Whether a file is one that `dvae predict` made."""
    if path.suffix != ".png" or not path.is_file():
        return False
    try:
        with Image.open(path) as image:
            return image.info.get("Software") == _MARK
    except Exception:  # decoders raise whatever damaged bytes lead to
        return False


def inputs(given: Sequence[Path]) -> list[Path]:
    """The photographs among what was given, each once; of folders what lies in them, but for such drawings.

    Raises UserError if a folder has none, or if a drawing is given itself.
    """
    paths: list[Path] = []
    for path in given:
        inside = [path]
        if path.is_dir():
            files = sorted(file for file in path.iterdir() if file.suffix.lower() in PHOTOGRAPHS)
            inside = [file for file in files if not is_drawing(file)]
            if not inside:
                raise UserError(f"{path} holds no photographs: name a folder that does, or files.")
        elif is_drawing(path):
            raise UserError(f"{path} is a drawing of `dvae predict`: name the photograph that it was made of.")
        paths += [file for file in inside if file not in paths]
    return paths


def targets(paths: Sequence[Path], folder: Path) -> list[Path]:
    """Where the drawing of each photograph goes.

    Raises UserError if two would be one file, or if another file is there already.
    """
    stems = Counter(path.stem for path in paths)
    if alike := [str(path) for path in paths if stems[path.stem] > 1]:
        raise UserError(
            f"{' and '.join(alike[:3])} would be drawn into one file: read them one after another, each with an --out "
            "of its own, or rename one."
        )
    made = [folder / f"{path.stem}-pose.png" for path in paths]
    for target in [*made, folder / SHEET]:
        if target.exists() and not is_drawing(target):
            raise UserError(
                f"{target} is there already, and no drawing of `dvae predict`: name another folder by --out."
            )
    return made


def save(predictions: Sequence[Prediction], target: Path) -> None:
    """Draws the hands of one photograph."""
    with plt.style.context("default"), atomic_write(target) as temporary:  # whatever a matplotlibrc has
        use_book_style()
        figure = draw_predictions(predictions)
        figure.savefig(temporary, metadata={"Software": _MARK})
        plt.close(figure)


def save_sheet(made: Sequence[Path], folder: Path) -> Path:
    """The first of some drawings, side by side in one image."""
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
