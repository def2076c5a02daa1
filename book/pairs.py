"""Keeps each chapter's notebook (.ipynb) and text (.md) in sync, no outputs.

    python book/pairs.py          updates the older of each pair from the newer;
                                  creates a missing notebook
    python book/pairs.py --check  changes nothing; exit status 1 if a pair
                                  differs or contains outputs

A chapter is a .md whose header pairs it with a notebook; pages without one
(glossary.md …) are plain text.
"""

import os
import sys
from pathlib import Path

import jupytext
from jupytext.cli import jupytext as jupytext_command

BOOK = Path(__file__).parent
FORMATS = "ipynb,md:myst"
# What Jupyter adds beyond these (its version, widgets) differs by machine.
METADATA = ("kernelspec", "jupytext")


def chapters(book: Path = BOOK) -> list[Path]:
    """The texts of all chapters, even if their text or notebook is missing."""
    texts = [
        path for path in book.glob("*.md") if _formats(jupytext.read(path))
    ]
    return sorted(
        {*texts, *(path.with_suffix(".md") for path in book.glob("*.ipynb"))}
    )


def problem(text: Path) -> str | None:
    """The problem of a chapter's pair as a sentence; None if there is none."""
    notebook = text.with_suffix(".ipynb")
    for path in (text, notebook):
        if not path.exists():
            return f"{path.name} is missing"
    nb = jupytext.read(notebook)
    if _formats(nb) != FORMATS:
        return f"{notebook.name} does not name its pair ({FORMATS})"
    texts_kernel = jupytext.read(text).metadata.get("kernelspec", {})
    if nb.metadata.get("kernelspec", {}) != texts_kernel:
        return f"{notebook.name} and {text.name} name different kernels"
    if any(
        cell.get("outputs") or cell.get("execution_count") for cell in nb.cells
    ):
        return f"{notebook.name} contains outputs or execution counts"
    if _cells(nb) != _cells(jupytext.read(text)):
        return f"{notebook.name} and {text.name} differ"
    return None


def _formats(nb) -> str | None:
    return nb.metadata.get("jupytext", {}).get("formats")


def _cells(nb) -> list:
    return [
        (cell.cell_type, cell.source.rstrip(), dict(cell.metadata))
        for cell in nb.cells
    ]


def sync(text: Path) -> None:
    notebook = text.with_suffix(".ipynb")
    if notebook.exists():
        _strip(notebook)
    newest = max(
        (path for path in (text, notebook) if path.exists()),
        key=lambda path: path.stat().st_mtime,
    )
    jupytext_command(["--quiet", "--set-formats", FORMATS, str(newest)])


def _strip(notebook: Path) -> None:
    """Removes outputs and counts; keeps the time, which dates the pair."""
    nb, time = jupytext.read(notebook), notebook.stat().st_mtime_ns
    for cell in nb.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
            cell.metadata.pop("execution", None)
    nb.metadata = {
        key: value for key, value in nb.metadata.items() if key in METADATA
    }
    jupytext.write(nb, notebook)
    os.utime(notebook, ns=(time, time))


def main(check: bool) -> int:
    if not check:
        for text in chapters():
            sync(text)
    problems = [sentence for text in chapters() if (sentence := problem(text))]
    for sentence in problems:
        print(f"{sentence}: run `make sync` and check the difference.")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(check="--check" in sys.argv[1:]))
