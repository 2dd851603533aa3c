"""One file, one format: `read(path, *, options)` yields Classes, then samples and faults.

Ids, sources and the places of faults are relative to `path` and don't depend on where it lies; the order is
the same on every machine. A format reads and reports, it neither decodes images nor prints; prepare does the rest.
"""
