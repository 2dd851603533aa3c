"""One file, one format: `read(path, *, options)` yields Classes, then samples and faults.

A format that reads files also has `recognise(tree)`: the options with which it can read a folder, {} if it needs none,
or None if the folder has another format. `convline add` calls it for every format.

Ids, sources and paths in faults are relative to `path`, and their order is the same on every machine. A format neither
decodes images nor prints; prepare does.
"""
