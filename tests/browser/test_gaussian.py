"""Chapter 1's page in a browser: a pose that is pulled at has another Gaussian, and torch's."""

import numpy as np
import pytest
import torch

from dvae_lib.explorer.gaussian import export
from dvae_lib.explorer.page import Page
from dvae_lib.models.objectives import kl_to_prior
from tests.browser.test_explorer import HAND, STILL
from tests.explorer.test_gaussian import vae

ROOT = "document.querySelector('.dvae-explorer')"


@pytest.fixture
def page(browser, tmp_path):
    poses = torch.tensor(HAND).float() + 0.05 * torch.randn(60, 21, 3, generator=torch.manual_seed(0))
    file = tmp_path / "page.html"
    explorer = Page("gaussian.js", export(vae(), poses), STILL.getvalue(), "Hands.")
    file.write_text(f"<!doctype html><meta charset=utf-8>{explorer._repr_html_()}", "utf-8")
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.goto(file.as_uri())
    page.wait_for_selector(".dvae-explorer.live")
    page.wait_for_timeout(100)
    yield page
    assert page.errors == []
    page.close()


def pixels(page, number):
    read = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
    return np.array(page.locator(".stage canvas").nth(number).evaluate(read))


def test_mean_deviation_and_divergence_are_torch_s(page):
    pose = torch.tensor(page.evaluate(f"[...{ROOT}.pose()]")).view(1, 21, 3)
    found = page.evaluate(f"{ROOT}.vae.encode({ROOT}.pose())")
    with torch.no_grad():
        q = vae().encode("pose", pose)
    torch.testing.assert_close(torch.tensor(found["mean"])[None], q.mean, atol=2e-3, rtol=0)
    torch.testing.assert_close(torch.tensor(found["sigma"])[None], q.stddev, atol=2e-3, rtol=0)
    kl = sum(page.evaluate(f"{ROOT}.divergence({ROOT}.vae.encode({ROOT}.pose()))"))
    assert kl == pytest.approx(kl_to_prior(q).item(), abs=0.02)
    assert f"= {kl:.1f} nats" in page.locator("output").inner_text()


def test_z_is_the_mean_and_so_many_deviations(page):
    z = page.evaluate(f"{ROOT}.reparameterise({{mean: [1, 2], sigma: [0.5, 3]}}, [2, -1])")
    assert z == [2, -1]


def test_pulling_at_a_finger_moves_the_gaussian_and_drawing_again_the_draws_alone(page):
    skeleton, chart, spread = (pixels(page, i) for i in range(3))
    page.locator("button.again").click()
    page.wait_for_timeout(100)
    assert (pixels(page, 1) != chart).any() and (pixels(page, 2) == spread).all()
    divergence = f"{ROOT}.divergence({ROOT}.vae.encode({ROOT}.pose()))"
    before = sum(page.evaluate(divergence))
    page.locator(".turnable").focus()
    for _ in range(10):
        page.keyboard.press("Shift+ArrowDown")
    page.wait_for_timeout(100)
    assert (pixels(page, 2) != spread).any() and (pixels(page, 0) != skeleton).any()
    assert abs(sum(page.evaluate(divergence)) - before) > 1e-3
