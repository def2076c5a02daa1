"""Adds buttons that open a chapter in Colab or Binder.

DVAE_REPOSITORY, if set, is the address of the repository on GitHub, whose
branch `launch` contains the notebooks, with a cell that installs the library
(book/launch.py).
"""

import os

from sphinx.application import Sphinx
from sphinx.config import Config


def add_buttons(app: Sphinx, config: Config) -> None:
    if address := os.environ.get("DVAE_REPOSITORY"):
        config.html_theme_options |= {
            "repository_url": address.removesuffix(".git").rstrip("/"),
            "repository_branch": "launch",
            "path_to_docs": "book",
            "use_repository_button": True,
            "launch_buttons": {
                "notebook_interface": "jupyterlab",
                "colab_url": "https://colab.research.google.com",
                "binderhub_url": "https://mybinder.org",
            },
        }


def setup(app: Sphinx) -> dict:
    app.connect("config-inited", add_buttons)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
