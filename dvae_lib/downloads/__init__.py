"""Downloading and checking data sets.

`download` is `dvae download`: the terms, addresses and layout of each data set. `fetch` resumes and verifies single
files, `archive` unpacks zip files safely. `check` is `dvae check`: it checks that a data set on disk is complete and
readable; the lists *.sha256 contain the hashes of the published files.
"""
