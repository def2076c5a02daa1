"""Adds the camera files of `dvae download camera` to the pages.

If they are downloaded, they are copied beside the pages, and each page gets a
meta tag, by which the explorers offer the reader's camera.
"""

import shutil
from pathlib import Path

from sphinx.application import Sphinx

from dvae_lib import settings
from dvae_lib.downloads.packages import PACKAGES

FILES = PACKAGES["camera"].members.values()


def _folder() -> Path | None:
    folder = settings.downloaded("camera")
    here = all((folder / name).is_file() for name in FILES)
    return folder if here else None


def mark(app: Sphinx, page, template, context: dict, doctree) -> None:
    if _folder():
        context["metatags"] = (
            context.get("metatags", "")
            + '<meta name="dvae-camera" content="here">'
        )


def copy(app: Sphinx, error: Exception | None) -> None:
    folder, target = _folder(), Path(app.outdir) / "_static" / "camera"
    if error is None and folder and app.builder.format == "html":
        target.mkdir(parents=True, exist_ok=True)
        for name in FILES:
            shutil.copyfile(folder / name, target / name)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", mark)
    app.connect("build-finished", copy)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
