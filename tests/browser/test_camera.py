"""The camera in the page: a photograph in place of a person before it, and what leaves the page: nothing."""

import functools
import io
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from PIL import Image

from dvae_lib import settings
from dvae_lib.downloads.packages import PACKAGES
from dvae_lib.explorer.gaussian import export
from dvae_lib.explorer.page import Page
from tests.browser.conftest import chromium
from tests.browser.test_explorer import HAND, STILL
from tests.explorer.test_gaussian import vae

FOLDER = settings.downloaded("camera")
HAND_PHOTOGRAPH = settings.downloaded("digits") / "Dataset/5/IMG_1123.JPG"  # an open right hand, fingers up
HERE = '<meta name="dvae-camera" content="here">'
SAID = "[...document.querySelectorAll('.watching output')].map((words) => words.textContent).join()"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def write_page(folder, mark=HERE):
    poses = torch.tensor(HAND).float() + 0.05 * torch.randn(60, 21, 3, generator=torch.manual_seed(0))
    html = Page("gaussian.js", export(vae(), poses), STILL.getvalue(), "Hands.")._repr_html_()
    head = f'<meta charset=utf-8><link rel="icon" href="data:,">{mark}'
    file = folder / "page.html"
    file.write_text(f'<!doctype html><html data-content_root="./"><head>{head}</head>{html}</html>', "utf-8")
    return file


@pytest.fixture
def served(tmp_path):
    handler = functools.partial(Quiet, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def opened(browser, address):
    page = browser.new_page()
    page.goto(address)
    page.wait_for_selector(".dvae-explorer.live")
    return page


def test_without_its_files_there_is_no_camera(browser, tmp_path):
    page = opened(browser, write_page(tmp_path, mark="").as_uri())
    assert page.locator("button.camera").count() == 0
    page.close()


def test_a_page_that_is_opened_as_a_file_says_how_to_serve_it(browser, tmp_path):
    page = opened(browser, write_page(tmp_path).as_uri())
    assert page.locator("button.camera").is_disabled() and "http.server" in page.evaluate(SAID)
    page.close()


def test_where_nothing_was_copied_it_is_said(browser, tmp_path, served):
    write_page(tmp_path)
    page = opened(browser, f"{served}/page.html")
    page.locator("button.camera").click()
    page.wait_for_function(f"{SAID}.startsWith('the camera is not available')")
    assert page.locator("button.camera").is_enabled()
    page.close()


@pytest.mark.slow
@pytest.mark.real_data("camera")
@pytest.mark.real_data("digits")
def test_a_hand_before_the_camera_is_pulled_at_and_nothing_leaves_the_page(tmp_path, served, playwright):
    frame, video = Image.new("RGB", (640, 480), "lightgrey"), io.BytesIO()
    with Image.open(HAND_PHOTOGRAPH) as photograph:
        frame.paste(photograph.resize((480, 480), Image.Resampling.BICUBIC), (80, 0))
    frame.save(video, "JPEG", quality=92)
    (tmp_path / "hand.mjpeg").write_bytes(video.getvalue() * 10)
    (tmp_path / "_static/camera").mkdir(parents=True)
    for name in PACKAGES["camera"].members.values():
        shutil.copyfile(FOLDER / name, tmp_path / "_static/camera" / name)
    write_page(tmp_path)
    browser = chromium(
        playwright,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={tmp_path / 'hand.mjpeg'}",
        "--use-angle=swiftshader",
        "--enable-unsafe-swiftshader",
        "--ignore-gpu-blocklist",
        gpu=True,
    )
    asked = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append((request.method, request.url)))
    page.goto(f"{served}/page.html")
    page.wait_for_selector(".dvae-explorer.live")
    page.locator("button.camera").click()
    page.wait_for_function(f"{SAID} === 'a right hand, shown as a left one'", timeout=240_000)
    page.wait_for_timeout(3000)
    pose = np.array(page.evaluate("[...document.querySelector('.dvae-explorer').pose()]")).reshape(21, 3)
    tips, knuckles = pose[[8, 12, 16, 20]], pose[[5, 9, 13, 17]]
    assert (tips[:, 1] < knuckles[:, 1] - 0.5).all()  # four fingers point up
    assert pose[4, 0] < pose[:, 0].mean() < pose[20, 0]  # of a left hand, whose palm is seen, the thumb is left
    palms = np.linalg.norm(np.array(HAND)[9])
    assert np.linalg.norm(pose[9]) == pytest.approx(palms, rel=0.1) and np.abs(pose[0]).max() < 1e-6
    page.locator("button.camera").click()
    page.wait_for_timeout(500)
    assert page.evaluate("document.querySelector('video').srcObject.active") is False
    assert {method for method, _ in asked} == {"GET"} and all(
        url.startswith((served, "data:", "blob:")) for _, url in asked
    )
    browser.close()
