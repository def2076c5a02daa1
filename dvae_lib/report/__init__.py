"""The paper's figures, tables and claims against our runs, and what others published."""
