"""Creates the README's images: `python book/pictures.py`."""

import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from dvae_lib import settings
from dvae_lib.datasets.rendered import SyntheticSource
from dvae_lib.experiments import counterfactuals
from dvae_lib.experiments.run import load_or_train
from dvae_lib.plots import cross_modal, full, synthesis
from dvae_lib.plots.hands import grid, show_image, show_pose, use_book_style
from dvae_lib.synthetic import scenes

STATIC = Path(__file__).parent / "_static"


def hands() -> None:
    """One hand per row, and the same hand with one factor from another."""
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
    """Images, the poses decoded from them, and images decoded from poses."""
    run = load_or_train("cross-modal")
    batch = run.batches("validation", 64).batch(0)
    figure = cross_modal.translations(run.load(), batch, list(range(7)))
    figure.savefig(STATIC / "readme-crossmodal.png", dpi=100)


def transfers() -> None:
    """Pose of one image, content of another; and a walk in the content."""
    run = load_or_train("dvae-zu")
    model, batch = run.load(), run.batches("validation", 48).batch(0)
    poses, contents = [0, 1, 3, 4], [8, 9, 10, 12, 14]
    figure = synthesis.pose_transfer(model, batch, poses, contents)
    figure.savefig(STATIC / "readme-transfer.png", dpi=100)
    figure = synthesis.content_walks(model, batch, [(0, 4), (3, 1)])
    figure.savefig(STATIC / "readme-walk.png", dpi=100)


def moving() -> None:
    """An animation: one gesture after another, in six rooms at once."""
    run = load_or_train("dvae-image-place")
    model, (dataset, held_out) = run.load(), run.subsets("validation")[0]
    rooms = np.asarray(dataset["content"])[held_out]
    contents = [held_out[rooms == room][0] for room in np.unique(rooms)]
    stops = held_out[:: len(held_out) // 6][:6]
    given, posed = (
        next(counterfactuals.samples_at(run, np.array(indices)).in_order())
        for indices in (contents, stops)
    )
    inputs = {
        "tag": given["image"],
        "place": given["place"],
        "pose": posed["pose"],
    }
    frames = []
    with torch.inference_mode():
        means = {
            name: q.mean for name, q in model.encode_factors(inputs).items()
        }
        poses = means["pose"][:, None].expand(-1, len(contents), -1)
        z = [model.join(means | {"pose": pose}) for pose in poses]
        for start, end in zip(z, [*z[1:], z[0]], strict=True):
            for z_t in model.walk(start, end, 12, ["pose"])[:-1]:
                frames.append(frame(model.decode(z_t, ["image", "pose"])))
    frames[0].save(
        STATIC / "readme-moving.webp",
        save_all=True,
        append_images=frames[1:],
        duration=80,
        loop=0,
        quality=70,
    )


def frame(decoded: dict[str, torch.Tensor]) -> Image.Image:
    """A skeleton, and the images decoded with its pose."""
    figure, (axes,) = grid(1, 1 + len(decoded["image"]), cell=1.2)
    show_pose(axes[0], decoded["pose"][0])
    for ax, image in zip(axes[1:], decoded["image"], strict=True):
        show_image(ax, image)
    figure.subplots_adjust(0, 0, 1, 1)
    file = io.BytesIO()
    with plt.rc_context({"savefig.bbox": "standard"}):
        figure.savefig(file, format="png", dpi=90)
    plt.close(figure)
    return Image.open(file).convert("RGB")


def largest() -> None:
    """Updates the README's section on the largest run, between two marks."""
    path = settings.ROOT / "README.md"
    before, mark, rest = path.read_text("utf-8").partition(full.README_MARK)
    _, end, after = rest.partition(full.README_MARK)
    text = f"{before}{mark}\n{full.for_readme()}\n{end}{after}"
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    use_book_style()
    plt.switch_backend("agg")
    largest()
    hands()
    cross_modal_readings()
    transfers()
    moving()
