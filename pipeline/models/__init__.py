"""One file, one architecture: `build(spec, *, options)` gives a bare network; a name with `_` is shared code."""
