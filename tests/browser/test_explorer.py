"""The explorer in a browser: torch's pixels on its canvas, and every way of moving it."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from dvae_lib.explorer import export, join
from dvae_lib.explorer.page import Page
from tests.explorer.test_explorer import labelled, somewhere

STILL = io.BytesIO()
Image.new("RGB", (8, 8), "grey").save(STILL, "PNG")


@pytest.fixture(scope="module")
def model():
    return labelled()


@pytest.fixture(scope="module")
def parts(model):
    return somewhere(model)


@pytest.fixture
def page(browser, parts, tmp_path):
    """From a file, as readers open it."""
    file = tmp_path / "page.html"
    explorer = Page("explorer.js", export(labelled(), parts), STILL.getvalue(), "Hands.")
    file.write_text(f"<!doctype html><meta charset=utf-8>{explorer._repr_html_()}", "utf-8")
    page = browser.new_page(viewport={"width": 800, "height": 900}, reduced_motion="reduce")
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: message.type == "error" and page.errors.append(message.text))
    page.goto(file.as_uri())
    page.wait_for_selector(".dvae-explorer.live")
    yield page
    assert page.errors == []
    page.close()


def coordinates(page):
    page.wait_for_timeout(100)  # two frames
    return page.evaluate("document.querySelector('.dvae-explorer').coordinates")


def canvas(page):
    """The pixels on the first canvas, (S, S, 3)."""
    read = """canvas => [...canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data]"""
    pixels = np.array(page.locator(".stage canvas").first.evaluate(read))
    return pixels.reshape(-1, 4)[:, :3].reshape(32, 32, 3)


def decoded(model, parts, at):
    with torch.no_grad():
        return model.decode(join(parts, torch.tensor([at])))


def test_the_browser_decodes_as_torch(page, model, parts):
    at = torch.randn(13, generator=torch.manual_seed(1)).tolist()
    ask = "([name, at]) => [...document.querySelector('.dvae-explorer').decoder[name](at)]"
    expected = decoded(model, parts, at)
    image = torch.tensor(page.evaluate(ask, ["image", at])).unflatten(0, (32, 32, 3)).permute(2, 0, 1)
    torch.testing.assert_close(image, expected["image"][0], atol=1e-3, rtol=0)
    pose = torch.tensor(page.evaluate(ask, ["pose", at])).unflatten(0, (21, 3))
    torch.testing.assert_close(pose, expected["pose"][0], atol=1e-3, rtol=0)


def test_a_picked_sample_is_on_the_canvas(page, model, parts):
    assert page.locator("fieldset small").first.inner_text() == "8 directions, 100.0 % of the variance"
    assert coordinates(page) == pytest.approx([c for of in parts.values() for c in of.samples[0].tolist()])
    fields = page.locator("fieldset")
    fields.nth(0).locator(".samples button").nth(2).click()
    fields.nth(1).locator(".samples button").nth(4).click()
    at = coordinates(page)
    pose, content = parts["pose"].samples[2].tolist(), parts["tag"].samples[4].tolist()
    np.testing.assert_allclose(at, pose + content, atol=1e-5)
    expected = 127.5 * (decoded(model, parts, at)["image"][0].permute(1, 2, 0).numpy() + 1)
    assert np.abs(canvas(page) - expected).max() < 0.5 + 127.5e-3


def test_a_slider_ends_the_glide_to_a_sample(page, parts):
    page.emulate_media(reduced_motion="no-preference")
    page.evaluate(  # at once: on a slow machine the glide would have ended before the slider moves
        """() => {
            document.querySelectorAll('fieldset .samples button')[2].click();
            const slider = document.querySelectorAll('fieldset input')[1];
            slider.stepUp(20);
            slider.dispatchEvent(new Event('input'));
        }"""
    )
    begun = coordinates(page)
    page.wait_for_timeout(600)  # a glide takes 450 ms
    assert coordinates(page) == begun
    assert begun[0] != pytest.approx(parts["pose"].samples[2].tolist()[0])


def test_the_keyboard_moves_a_slider_and_turns_the_skeleton(page):
    start, before = coordinates(page), canvas(page)
    slider = page.locator("fieldset").nth(0).locator("input").nth(1)
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    at = coordinates(page)
    # To the next of the slider's steps of 0.05, and so on.
    assert 0.44 < at[1] - start[1] < 0.56 and at[0] == start[0] and np.abs(canvas(page) - before).max() > 1

    skeleton = page.locator(".turnable")
    looked = skeleton.screenshot()
    skeleton.focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(100)
    assert skeleton.screenshot() != looked and coordinates(page) == at


def test_a_finger_on_the_skeleton_turns_it(page):
    skeleton = page.locator(".turnable")
    looked, box = skeleton.screenshot(), skeleton.bounding_box()
    page.mouse.move(box["x"] + 50, box["y"] + 50)
    page.mouse.down()
    page.mouse.move(box["x"] + 150, box["y"] + 60, steps=4)
    page.mouse.up()
    page.wait_for_timeout(100)
    assert skeleton.screenshot() != looked


def skeleton(page):
    """The joints (21, 3) of the skeleton with the handles."""
    return np.array(page.evaluate("[...document.querySelector('.dvae-explorer').pose()]")).reshape(21, 3)


def handle(page, joint):
    """Where a joint's handle is, in pixels of the page."""
    place = page.evaluate(
        """joint => {
            const root = document.querySelector('.dvae-explorer');
            const pose = [...root.pose()], middle = [0, 1, 2].map((axis) => {
                const along = pose.filter((_, i) => i % 3 === axis);
                return (Math.min(...along) + Math.max(...along)) / 2;
            });
            return [0, 1].map((axis) => 0.5 + (pose[3 * joint + axis] - middle[axis]) / 4.6);
        }""",
        joint,
    )
    box = page.locator(".turnable").bounding_box()
    return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"], box["width"] / 4.6


def lengths(pose):
    return np.linalg.norm(np.diff(pose[1:].reshape(5, 4, 3), axis=1), axis=-1)


HAND = [[0, 0, 0]] + [
    [0.5 * finger - 1, -0.9 - 0.4 * joint, 0.1 * joint] for finger in range(5) for joint in range(4)
]  # palm and five fingers, bent a little


@pytest.fixture
def open_hand(page):
    """A page whose skeleton is a hand: what an untrained decoder draws is none."""
    page.evaluate(
        """pose => {
            const root = document.querySelector('.dvae-explorer');
            root.decoder.pose = () => pose;
            root.draw();
        }""",
        np.array(HAND).ravel().tolist(),
    )
    return page


def test_a_joint_that_is_dragged_keeps_its_bones_and_its_pose_is_encoded(open_hand, model, parts):
    page, before, start = open_hand, skeleton(open_hand), coordinates(open_hand)
    x, y, unit = handle(page, 8)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.5 * unit, y + 0.4 * unit, steps=6)
    page.mouse.up()
    after, at = skeleton(page), coordinates(page)
    np.testing.assert_allclose(after[8] - before[8], [0.5, 0.4, 0], atol=0.03)  # within reach: it follows the pointer
    np.testing.assert_allclose(lengths(after), lengths(before), rtol=1e-3)
    others = [j for j in range(21) if j not in (6, 7, 8)]
    np.testing.assert_allclose(after[others], before[others], atol=1e-6)
    with torch.no_grad():
        mean = model.encoders["pose"](torch.tensor(after, dtype=torch.float32)[None]).mean
    expected = (mean - parts["pose"].mean) @ torch.linalg.pinv(parts["pose"].basis)
    np.testing.assert_allclose(at[:8], expected[0], atol=0.02)
    assert at[8:] == start[8:]  # the content stays
    assert page.locator("select").input_value() == "8"
    page.locator("fieldset").first.locator(".samples button").nth(3).click()
    coordinates(page)
    np.testing.assert_allclose(skeleton(page), HAND, atol=1e-6)  # another sample lets go of it


def test_a_finger_out_of_reach_is_stretched_and_what_is_beyond_a_joint_turns_along(open_hand):
    page, before = open_hand, skeleton(open_hand)
    x, y, unit = handle(page, 10)  # the first joint of the middle finger
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 3 * unit, y + 0.4 * unit, steps=8)
    page.mouse.up()
    after = skeleton(page)
    np.testing.assert_allclose(lengths(after), lengths(before), rtol=1e-3)
    way = after[10] - after[9]
    assert way[0] / np.linalg.norm(way) > 0.95  # it points to where it was pulled
    for a, b, c in ((9, 10, 11), (10, 11, 12)):  # the angles beyond are as they were

        def angle(pose, a=a, b=b, c=c):
            u, v = pose[b] - pose[a], pose[c] - pose[b]
            return u @ v / np.linalg.norm(u) / np.linalg.norm(v)

        assert angle(after) == pytest.approx(angle(before), abs=1e-3)


def test_a_knuckle_turns_the_hand(open_hand):
    page, before = open_hand, skeleton(open_hand)
    x, y, unit = handle(page, 9)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 0.9 * unit, y + 0.4 * unit, steps=6)
    page.mouse.up()
    after = skeleton(page)
    np.testing.assert_allclose(np.linalg.norm(after, axis=1), np.linalg.norm(before, axis=1), rtol=1e-3)
    np.testing.assert_allclose(lengths(after), lengths(before), rtol=1e-3)
    assert after[9, 0] > 0.4


def test_the_keyboard_pulls_at_the_chosen_joint(open_hand):
    page, before = open_hand, skeleton(open_hand)
    page.locator("select").select_option("16")  # the ring finger's tip
    page.locator(".turnable").focus()
    for _ in range(5):
        page.keyboard.press("Shift+ArrowDown")
    after = skeleton(page)
    np.testing.assert_allclose(after[16] - before[16], [0, 30 * 4.6 / 320, 0], atol=0.03)
    np.testing.assert_allclose(after[8], before[8], atol=1e-6)


def test_the_still_stands_in_on_paper_and_without_scripts(page, browser):
    still, stage = page.locator(".still"), page.locator(".stage")
    assert not still.is_visible() and stage.is_visible()
    page.emulate_media(media="print")
    assert still.is_visible() and not stage.is_visible()
    without = browser.new_page(java_script_enabled=False)
    without.goto(page.url)
    assert without.locator(".still").is_visible()
    without.close()
