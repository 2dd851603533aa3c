"""One file per architecture: `build(spec, *, options)` returns a bare network; parts/ holds shared code.

PAPER holds the published settings. SMALL holds settings for the tests where PAPER's network is too large for them, by
task if tasks differ.
"""
