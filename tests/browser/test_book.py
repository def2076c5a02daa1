"""The built pages as readers see them: nothing fails, nothing is missing, nothing is asked of the network.

Screenshots of all, with a contact sheet, are left in screens/ beside the pages.
"""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from PIL import Image

from dvae_lib.report.report import ITEMS

VIEWS = {"desktop": (1280, 900), "phone": (390, 844)}
THEMES = ("light", "dark")
# Sphinx puts its own word before an equation's label.
LABELS = ["tab-report", "tab-claims"]
LABELS += [f"equation-{item.label}" if item.label.startswith("eq-") else item.label for item in ITEMS]


class Page(HTMLParser):
    """What a page points to, and what can be pointed to in it."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.targets, self.images = set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.ids.update(value for name, value in attributes if name in ("id", "name") and value)
        if tag == "a" and found.get("href"):
            self.targets.append(found["href"])
        for name in ("src", "data"):
            if tag in ("img", "script", "object", "iframe") and found.get(name):
                self.targets.append(found[name])
        if tag == "link" and found.get("href"):
            self.targets.append(found["href"])
        if tag == "img":
            self.images.append(found)


@pytest.fixture(scope="module")
def pages(book):
    paths = [path for path in sorted(book.rglob("*.html")) if "_static" not in path.parts]
    found = {path.relative_to(book).as_posix(): Page(path.read_text("utf-8")) for path in paths}
    assert {"intro.html", "04-disentangled.html", "bibliography.html"} <= set(found)
    return found


def test_links_lead_somewhere(book, pages):
    broken = []
    for name, page in pages.items():
        for target in page.targets:
            url = urlsplit(target)
            if url.scheme or url.netloc:
                continue
            path = ((book / name).parent / unquote(url.path)).resolve() if url.path else book / name
            page_there = pages.get(path.relative_to(book.resolve()).as_posix()) if url.path else page
            anchors = page_there.ids if page_there else {unquote(url.fragment)}
            if not path.exists() or (url.fragment and unquote(url.fragment) not in anchors):
                broken.append(f"{name}: {target}")
    assert broken == []


def test_every_label_of_the_papers_is_there(pages):
    ids = set().union(*(page.ids for page in pages.values()))
    assert [label for label in LABELS if label not in ids] == []


def test_every_picture_says_what_it_shows(pages):
    missing = [(name, i.get("src")) for name, page in pages.items() for i in page.images if not i.get("alt")]
    assert missing == []


def shown(pages):
    """Those that are looked at: of the library's, one."""
    return [name for name in pages if not name.startswith("api/") or name == "api/models.html"]


def visit(browser, path, view, theme):
    """The open page, and what went wrong: errors, and requests for what is not in the book."""
    width, height = VIEWS[view]
    page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=theme, reduced_motion="reduce")
    page.add_init_script(f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}')")
    wrong = []

    def note(what):  # the theme asks for its icons ahead of time in a way that is refused to files, and then loads them
        if "fontawesome" not in what:
            wrong.append(what)

    page.on("pageerror", lambda error: note(str(error)))
    page.on("console", lambda m: m.type == "error" and note(f"{m.text} {m.location['url']}"))
    page.on("requestfailed", lambda request: note(f"failed: {request.url}"))
    page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or wrong.append(f"asked for {r.url}"))
    page.goto(path.as_uri())
    page.wait_for_function("!window.MathJax?.startup || MathJax.startup.promise.then(() => true)")
    return page, wrong


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("theme", THEMES)
def test_pages_open_without_an_error(browser, book, pages, view, theme):
    (screens := book.parent / "screens").mkdir(exist_ok=True)
    found = {}
    for name in shown(pages):
        page, wrong = visit(browser, book / name, view, theme)
        page.evaluate("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
        page.wait_for_function("[...document.images].every(image => image.complete)")
        empty = "[...document.images].filter(i => !i.naturalWidth).map(i => i.src.slice(0, 200))"
        wrong += [f"no picture: {source}" for source in page.evaluate(empty)]
        if (wide := page.evaluate("document.documentElement.scrollWidth - innerWidth")) > 0:
            wrong.append(f"scrolls sideways by {wide} pixels")
        equations = """[...document.querySelectorAll('mjx-container[display="true"]')]
            .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.textContent.slice(0, 60))"""
        if view == "desktop":
            wrong += [f"an equation is cut: {text}" for text in page.evaluate(equations)]
        if not page.evaluate("[...document.querySelectorAll('.dvae-explorer')].every(e => e.matches('.live'))"):
            wrong.append("an explorer does not run")
        page.screenshot(path=screens / f"{Path(name).stem}-{view}-{theme}.png", full_page=True)
        page.close()
        found[name] = wrong
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


def test_contact_sheet(book, pages):
    """Each page's beginning in every view and theme, side by side, for the human eye."""
    views = [f"{view}-{theme}" for view in VIEWS for theme in THEMES]
    cell = (320, 400)
    sheet = Image.new("RGB", (cell[0] * len(views), cell[1] * len(shown(pages))), "white")
    for row, name in enumerate(shown(pages)):
        for column, view in enumerate(views):
            with Image.open(book.parent / "screens" / f"{Path(name).stem}-{view}.png") as screen:
                part = screen.convert("RGB").crop((0, 0, screen.width, screen.width * cell[1] // cell[0]))
            sheet.paste(part.resize((cell[0] - 8, cell[1] - 8)), (cell[0] * column + 4, cell[1] * row + 4))
    sheet.save(book.parent / "screens" / "contact-sheet.jpg", quality=85)
