"""Numbers sections and figures by the chapter in the file's name.

4.2 is the second section of 04-….md, and A.1 the first of a-….md, whatever the
order of the chapters; figures, tables and exercises are numbered likewise.
"""

import re

from docutils import nodes
from sphinx.addnodes import compact_paragraph
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.environment.collectors.toctree import TocTreeCollector


def chapter_of(page: str) -> str | None:
    """“4” of 04-disentangled, “A” of a-laboratory-elbo."""
    found = re.match(r"(\d+|[a-z])-", page)
    return found[1].lstrip("0").upper() if found else None


def _number(toc: nodes.Node, stack: list, numbers: dict[str, tuple]) -> None:
    for node in toc.children:
        if isinstance(node, nodes.bullet_list):
            _number(node, [*stack, 0], numbers)
        elif isinstance(node, nodes.list_item):
            _number(node, stack, numbers)
        elif isinstance(node, compact_paragraph):
            stack[-1] += 1
            reference = node[0]
            # The first level is the page itself: its number is the chapter's.
            own = (stack[0], *stack[2:])
            numbers[reference["anchorname"]] = own
            reference["secnumber"] = own


def number_sections(app: Sphinx, env: BuildEnvironment) -> list[str]:
    for page in env.found_docs:
        if chapter := chapter_of(page):
            env.toc_secnumbers[page] = {}
            _number(env.tocs[page], [chapter, 0], env.toc_secnumbers[page])
    # Sphinx numbers figures before this, so they are numbered again.
    return TocTreeCollector().assign_figure_numbers(env)


def setup(app: Sphinx) -> dict:
    app.connect("env-get-updated", number_sections, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
