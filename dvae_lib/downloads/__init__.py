"""Data sets from the network to disk.

`download` is `dvae download`: the terms, addresses and layout of each data set. `fetch` resumes and verifies single
files, `archive` unpacks zip files safely. `check` is `dvae check`: whether a data set on disk is complete and can be
read; the lists *.sha256 are the hashes of what was published.
"""
