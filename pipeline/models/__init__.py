"""One file, one architecture: `build(spec, *, options)` gives a bare network; a name with `_` is shared code.

PAPER holds the published settings, SMALL those at which the tests build a network that is too large for them,
by task where these differ.
"""
