"""Readers of third-party files, for which damaged or malicious data can only cause an error."""
