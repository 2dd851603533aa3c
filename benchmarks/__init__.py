"""Ratios against a bare loop or a peer, both sides in one run: `make bench`."""
