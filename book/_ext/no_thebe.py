"""Removes Thebe, which Jupyter Book includes to run cells on a remote server.

Its scripts refer to a network host, twice on some pages, which is an error.
"""

from sphinx.application import Sphinx


def without_thebe(app: Sphinx, page, template, context: dict, doctree) -> None:
    for kind in ("script_files", "css_files"):
        context[kind] = [
            file
            for file in context.get(kind, [])
            if "thebe" not in f"{file} {getattr(file, 'attributes', '')}"
        ]


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", without_thebe, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
