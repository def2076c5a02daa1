"""`dvae download`, from a checkout: python -m data_scripts.download rhd --accept-licence"""

import typer

from dvae_lib.cli import download

if __name__ == "__main__":
    typer.run(download)
