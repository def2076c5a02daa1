"""Lets autodoc read docstrings with Markdown's `code` and $mathematics$.

A paragraph that begins with a name and a colon describes parameters, fields
or files, one after the other; what else their lines hold is indented or not.
"""

import re

from sphinx.application import Sphinx

MARKED = re.compile(r"(`[^`]+`|\$[^$]+\$)")
NAMED = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*): (?P<text>.*)")


def as_rst(text: str) -> str:
    """Marks up code and mathematics, and takes nothing else for markup."""
    parts = MARKED.split(text)
    parts[::2] = [re.sub(r"([\\*_|])", r"\\\1", plain) for plain in parts[::2]]
    parts[1::2] = [
        f"``{marked[1:-1]}``" if marked[0] == "`" else f":math:`{marked[1:-1]}`"
        for marked in parts[1::2]
    ]
    return "".join(parts)


def paragraph(lines: list[str]) -> list[str]:
    """One with names becomes a list, a list stays one."""
    if NAMED.match(lines[0]):
        items: list[str] = []
        for line in lines:
            if named := NAMED.match(line):
                text = as_rst(named["text"])
                items.append(f"* **{as_rst(named['names'])}**: {text}")
            else:
                items[-1] += " " + as_rst(line.strip())
        return items
    if lines[0].lstrip().startswith("- "):
        items = []
        for line in lines:
            if line.lstrip().startswith("- "):
                items.append("* " + as_rst(line.lstrip()[2:]))
            else:
                items[-1] += " " + as_rst(line.strip())
        return items
    return [as_rst(" ".join(line.strip() for line in lines))]


def convert(app: Sphinx, what, name, of, options, lines: list[str]) -> None:
    found: list[str] = []
    for block in "\n".join(lines).strip("\n").split("\n\n"):
        found += [*paragraph(block.split("\n")), ""]
    lines[:] = found


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
