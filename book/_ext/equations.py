"""Numbers equations: those labelled eq-1 … eq-8 have the paper's numbers.

All others are numbered within their chapter: (3.1) is the first of chapter 3,
(A.1) that of appendix A.
"""

import re

from docutils import nodes
from sections import chapter_of
from sphinx.application import Sphinx


def number_equations(app: Sphinx, doctree: nodes.document) -> None:
    page = app.env.docname
    prefix = chapter_of(page) or page
    count = 0
    for node in doctree.findall(nodes.math_block):
        label = node.get("label")
        if not label:
            continue
        if paper := re.fullmatch(r"eq-(\d+)", label):
            number = paper[1]
        else:
            count += 1
            number = f"{prefix}.{count}"
        node["number"] = number
        app.env.get_domain("math").equations[label] = page, number


def setup(app: Sphinx) -> dict:
    app.connect("doctree-read", number_equations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
