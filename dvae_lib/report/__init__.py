"""The paper's figures, tables and claims compared with our runs, and the published numbers of other methods."""
