from dvae_lib.cli import app

app()
