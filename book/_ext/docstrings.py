"""Lets autodoc process docstrings with Markdown's `code` and $mathematics$.

A paragraph that begins with a name and a colon describes parameters, fields
or files, one after the other; continuation lines are indented or not.
"""

import re

from sphinx.application import Sphinx

MARKED = re.compile(r"(`[^`]+`|\$\$?[^$]+\$\$?)")
NAMED = re.compile(r"(?P<names>[a-z_]\w*(?:, [a-z_]\w*)*): (?P<text>.*)")


def as_rst(text: str) -> str:
    """Converts code and mathematics, and escapes all other markup."""
    parts = MARKED.split(text)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"([\\*_|])", r"\\\1", part)
        elif part[0] == "`":
            parts[i] = f"\\ ``{part[1:-1]}``\\ "
        else:
            parts[i] = f"\\ :math:`{part.strip('$')}`\\ "
    return "".join(parts)


def paragraph(lines: list[str]) -> list[str]:
    """Converts a paragraph: names become a list; lists and tables are kept."""
    if lines[0].startswith("|"):
        return ["::", "", *(f"    {line}" for line in lines)]
    lines = [line.strip() for line in lines]
    starts = NAMED if NAMED.match(lines[0]) else re.compile("- ")
    items = [lines[0]]
    for line in lines[1:]:
        if starts.match(line):
            items.append(line)
        else:
            items[-1] += " " + line
    if not starts.match(lines[0]):
        return [as_rst(" ".join(lines))]
    if starts is not NAMED:
        return ["* " + as_rst(item[2:]) for item in items]
    named = (NAMED.match(item) for item in items)
    return [f"* **{as_rst(n['names'])}**: {as_rst(n['text'])}" for n in named]


def convert(app: Sphinx, what, name, of, options, lines: list[str]) -> None:
    found: list[str] = []
    for block in "\n".join(lines).strip("\n").split("\n\n"):
        found += [*paragraph(block.split("\n")), ""]
    lines[:] = found


def setup(app: Sphinx) -> dict:
    app.connect("autodoc-process-docstring", convert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
