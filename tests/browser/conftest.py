"""A headless Chromium, where there is one: on PATH, with the package playwright to drive it.

DVAE_BROWSER=required makes what would be left out fail, DVAE_BOOK says where the built pages are.
"""

import os
import shutil
from pathlib import Path

import pytest

from dvae_lib import settings

BOOK = Path(os.environ.get("DVAE_BOOK", settings.ROOT / "_build" / "html"))
REQUIRED = os.environ.get("DVAE_BROWSER") == "required"


def left_out(why: str) -> None:
    (pytest.fail if REQUIRED else pytest.skip)(why)


@pytest.fixture(scope="session")
def playwright():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        left_out("the package playwright is not installed")
    with sync_playwright() as playwright:
        yield playwright


def chromium(playwright, *flags, gpu=False):
    """A Chromium with some flags; without a GPU it starts sooner."""
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        left_out("there is no chromium")
    usual = ["--no-sandbox", "--disable-quic", "--disable-background-networking", "--disable-sync"]
    flags = [*usual, *([] if gpu else ["--disable-gpu"]), *flags]
    return playwright.chromium.launch(executable_path=path, args=flags)


@pytest.fixture(scope="session")
def browser(playwright):
    browser = chromium(playwright)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def book():
    if not (BOOK / "intro.html").exists():
        left_out(f"the book is not built: there is no {BOOK / 'intro.html'}")
    return BOOK
