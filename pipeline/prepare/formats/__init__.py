"""One file, one format: `read(path, *, options)` yields Classes, then samples and faults.

A format made of files also has `recognise(tree)`: the options by which it reads such a folder, {} where it needs
none, or None where the folder is of another format. `convline add` asks all of them.

Ids, sources and the places of faults are relative to `path` and don't depend on where it lies; the order is
the same on every machine. A format reads and reports, it neither decodes images nor prints; prepare does the rest.
"""
