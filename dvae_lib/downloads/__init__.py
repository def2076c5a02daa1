"""Data sets from the network to disk."""
