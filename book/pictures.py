"""Draws the README's pictures: `python book/pictures.py`."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from dvae_lib.datasets.synthetic import SyntheticSource
from dvae_lib.plots import cross_modal, synthesis
from dvae_lib.plots.hands import grid, show_image, show_pose, use_book_style
from dvae_lib.runs import load_or_train
from dvae_lib.synthetic import scenes

STATIC = Path(__file__).parent / "_static"


def hands() -> None:
    """One hand a row, and the same hand with one factor taken from another."""
    source = SyntheticSource("synth-rhd")
    rows, factors = 3, ["pose", "viewpoint", "person", "background", "light"]
    first, second = (
        source.scene(np.arange(rows) * 701 + start) for start in (11, 20_000)
    )
    names = ["a hand", *(f"new {name}" for name in factors)]
    figure, axes = grid(rows, len(names), column_names=names, cell=1.5)
    others = (scenes.replace(first, second, name) for name in factors)
    for column, scene in enumerate([first, *others]):
        images = source.render(scene, 160)["image"]
        for ax, image in zip(axes[:, column], images, strict=True):
            show_image(ax, torch.from_numpy(image).float() / 127.5 - 1)
    figure.savefig(STATIC / "readme-hands.png", dpi=100)


def cross_modal_readings() -> None:
    """Test images, what is read from them, what is drawn for their poses."""
    run = load_or_train("cross-modal")
    batch = run.batches("test", 64).at(0)
    figure = cross_modal.translations(run.load(), batch, list(range(7)))
    figure.savefig(STATIC / "readme-crossmodal.png", dpi=100)


def transfers() -> None:
    """Pose of one test image, content of another; and a walk in the content."""
    run = load_or_train("dvae-zu")
    model, batch = run.load(), run.batches("test", 48).at(0)
    poses, contents = [0, 1, 3, 4], [8, 9, 10, 12, 14]
    figure = synthesis.pose_transfer(model, batch, poses, contents)
    figure.savefig(STATIC / "readme-transfer.png", dpi=100)
    figure = synthesis.content_walks(model, batch, [(0, 4), (3, 1)])
    figure.savefig(STATIC / "readme-walk.png", dpi=100)


def moving() -> None:
    """One gesture after another, made by the hands of six rooms at once."""
    run = load_or_train("dvae-image")
    model, batch = run.load(), run.batches("test", 256).at(0)
    rooms = np.asarray(run.parts("test")[0][0]["content"])
    rooms = rooms[run.parts("test")[0][1][:256]]
    contents = [int(np.argmax(rooms == room)) for room in np.unique(rooms)]
    with torch.inference_mode():
        parts = {name: q.mean for name, q in model.encode(batch).items()}
        stops = parts["pose"][list(range(0, 256, 43))]
        ways = zip(stops, stops.roll(-1, 0), strict=True)
        times = torch.linspace(0, 1, 12)[:-1, None]
        poses = torch.cat([torch.lerp(a, b, times) for a, b in ways])
    frames = []
    for pose in poses:
        z = model.join(
            {
                "pose": pose.expand(len(contents), -1),
                "tag": parts["tag"][contents],
            }
        )
        with torch.inference_mode():
            decoded = model.decode(z, ["image", "pose"])
        figure, (axes,) = grid(1, 1 + len(contents), cell=1.2)
        show_pose(axes[0], decoded["pose"][0])
        for ax, image in zip(axes[1:], decoded["image"], strict=True):
            show_image(ax, image)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=90, bbox_inches=None)
        plt.close(figure)
        frames.append(Image.open(file).convert("RGB"))
    frames[0].save(
        STATIC / "readme-moving.webp",
        save_all=True,
        append_images=frames[1:],
        duration=80,
        loop=0,
        quality=70,
    )


if __name__ == "__main__":
    use_book_style()
    plt.switch_backend("agg")
    hands()
    cross_modal_readings()
    transfers()
    moving()
