"""Ratios against a bare loop or a peer, both sides in one run: `make bench`."""

import os

# Else albumentations asks the network for its newest version when it is imported.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
