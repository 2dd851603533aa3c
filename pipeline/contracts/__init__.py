"""What each kind of plug-in holds: one typed Protocol per kind, checked before any work starts (check.py).

A member with a default, or marked `optional`, may be missing; every other one must be there. Constants are read from
the source text, so their values are written out. Keyword-only arguments are the plug-in's options: params.yaml sets
them.
"""
