"""Exports of common tools that no format reads: each is named in one line, with what to export instead."""

from pipeline.prepare.formats.parts.files import Tree


def explain(tree: Tree) -> str | None:
    """One sentence on the tool that wrote the folder and the way on, or None if no tool is recognised."""
    return None
