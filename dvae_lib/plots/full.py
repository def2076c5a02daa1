"""The largest models' figures and numbers, as `python -m benchmarks.full` left them: never this machine's own runs."""

from pathlib import Path
from typing import Any

from IPython.display import Image, Markdown, display

from dvae_lib import settings
from dvae_lib.files import read_json
from dvae_lib.plots.tables import in_words, table

FOLDER = settings.ROOT / "results" / "full"
README_MARK = "<!-- the largest run: python book/pictures.py -->"
COMMAND = "python -m benchmarks.full --minutes 9 --out results/full"


def found(folder: Path | None = None) -> dict[str, Any] | None:
    """full.json of the folder, by default `FOLDER`; None where no such run was kept."""
    path = (folder or FOLDER) / "full.json"
    return read_json(path) if path.exists() else None


def provenance(kept: dict[str, Any]) -> str:
    """“256 pixels, 9 minutes in all on a GPU, 2026-11-29”."""
    made = kept["provenance"]
    return f"{made['size']} pixels, {made['minutes']:g} minutes in all on {made['hardware']}, {made['date']}"


_NONE = Markdown(f"*No larger run is kept in `results/full` yet. On a GPU `{COMMAND}` makes one.*")


def sheet(name: str, shows: str) -> None:
    """Displays a sheet, and below it what it shows and where it comes from; where there is none, how to make it."""
    kept, path = found(), FOLDER / f"{name}.png"
    if kept is None or not path.exists():
        display(_NONE)
        return
    display(Image(filename=str(path)))
    display(Markdown(f"*{shows}. {provenance(kept)}.*"))


def for_readme() -> str:
    """What the README shows of the kept run, as Markdown with paths from the checkout's root."""
    kept = found()
    if kept is None or not (FOLDER / "transfer.png").exists():
        return str(_NONE.data)
    return (
        "![Hand images with the pose of one image and the content of another](results/full/transfer.png)\n\n"
        f"*Poses of one image, content of another, by the largest model. {provenance(kept)}.*"
    )


_COLUMNS = {
    "psnr": ("PSNR, dB", 2),
    "ssim": ("SSIM", 3),
    "epe by dvae-image": ("EPE read off by `dvae-image`, mm", 1),
    "epe by dvae-zu": ("EPE read off by `dvae-zu`, mm", 1),
    "right content": ("room", 2),
}


def transfer_scores() -> Markdown:
    """Pose transfer of the kept run against the truth, with intervals, as `tables.scores` has the reader's own."""
    kept = found()
    if kept is None or "transfer" not in kept:
        return _NONE
    rows = [
        [method, *(in_words(tuple(scores[k]), digits) if k in scores else "" for k, (_, digits) in _COLUMNS.items())]
        for method, scores in kept["transfer"].items()
    ]
    header = ["", *(title for title, _ in _COLUMNS.values())]
    return table("tab-transfer-full", f"Pose transfer, {provenance(kept)}", header, rows)


def summary() -> Markdown:
    """A row for each model of the kept run: the images it saw, and the errors of its evaluation."""
    kept = found()
    if kept is None:
        return _NONE
    rows = []
    for name, run in kept["runs"].items():
        read = run["evaluation"]["from"].get("image", {})
        error = f"{read['epe']:.1f} mm" if "epe" in read else ""
        steps = run["experiment"]["steps"] + (run["experiment"]["embedding_steps"] or 0)
        rows.append([f"`{name}`", f"{steps:,}", f"{run['images']:,}", error])
    header = ["", "steps", "images", "EPE from the image"]
    return table("tab-full", f"The largest run: {provenance(kept)}", header, rows)
