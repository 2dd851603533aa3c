"""One file, one transform: `build(*, options)` gives an albumentations transform."""
