"""Gives each notebook a first cell that installs the library.

`python book/launch.py REPOSITORY`, for the branch that the pages' launch
buttons open (.github/workflows).
"""

import sys
from pathlib import Path

import nbformat

INSTALL = """\
# On Colab: installs the book and its library, if they are not installed yet.
import importlib.util

if importlib.util.find_spec("dvae_lib") is None:
    !git clone --quiet --depth 1 {repository} dvae
    %pip install --quiet --editable "dvae[book]"
    %cd dvae/book
    import sys

    sys.path.insert(0, "..")  # this kernel started before the installation"""


def main(repository: str, book: Path = Path(__file__).parent) -> None:
    for path in sorted(book.glob("*.ipynb")):
        notebook = nbformat.read(path, 4)
        cell = nbformat.v4.new_code_cell(
            INSTALL.format(repository=repository), id="install"
        )
        notebook.cells.insert(1, cell)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
