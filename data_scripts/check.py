"""`dvae check`, from a checkout: python -m data_scripts.check stb"""

import typer

from dvae_lib.cli import check

if __name__ == "__main__":
    typer.run(check)
