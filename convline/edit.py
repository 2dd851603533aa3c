"""Adds an entry to a section of params.yaml, or a name to the roster; the other text stays as it is, byte for byte.

YAML libraries rewrite the whole file, with its quotes, breaks and blank lines; here ruamel only finds where a section
ends.
"""

import io
from collections.abc import Iterator
from typing import Any

from ruamel.yaml import YAML

from pipeline.errors import UserError
from pipeline.params import FILE
from pipeline.studies import ALL

#: ruamel's width, so that it never breaks a line, and the columns from which a value is written as a block
WIDE, LONG = 1 << 16, 100


def insert(
    text: str, section: str, name: str, entry: dict[str, Any], *, short: bool = False, comment: str | None = None
) -> str:
    """The text of params.yaml with one more entry in a section.

    short: puts it on one line, without a blank line · comment: stands above it, where the section is in block style.
    """
    above = [] if comment is None else [f"# {comment}"]
    keys = {key.value: (key, value) for key, value in YAML(pure=True).compose(text).value}
    key, node = keys.get(section, (None, None))
    if node is None:
        raise UserError(f"{FILE}: no section {section!r}. Add `{section}:` with an entry of your own first.")
    if not node.value:
        lines = [f"{flow(name)}: {flow(entry)}"] if short else [*above, f"{flow(name)}:", *_block(entry, "  ")]
        start, end = node.start_mark.index, node.end_mark.index
        if start == end:  # an empty section's mark is at what follows
            start = end = text.index(":", key.end_mark.index) + 1
        return text[:start].rstrip(" ") + "".join(f"\n  {line}" for line in lines) + text[end:]
    if node.flow_style:
        at = node.end_mark.index - 1
        return f"{text[:at]}, {flow({name: entry})[1:-1]}{text[at:]}"
    last = last_line(node)
    lines = text.splitlines(keepends=True)
    before, after = lines[: last + 1], lines[last + 1 :]
    if not before[-1].endswith("\n"):
        before[-1] += "\n"
    indent = node.value[0][0].start_mark.column
    new = [f"{flow(name)}: {flow(entry)}"] if short else ["", *above, f"{flow(name)}:", *_block(entry, "  ")]
    return "".join([*before, *(f"{' ' * indent}{line}".rstrip() + "\n" for line in new), *after])


def with_section(text: str, section: str) -> str:
    """The text with an empty section at its end, if it has none of this name."""
    if any(key.value == section for key, _ in YAML(pure=True).compose(text).value):
        return text
    return f"{text.rstrip()}\n{section}: {{}}\n"


def append_to_roster(text: str, name: str, *, alone: bool = False) -> str:
    """The text of params.yaml whose roster also has this name; unchanged where it is `all`, or has it.

    alone: the roster has this name only, as its words name nothing.
    """
    nodes = {key.value: value for key, value in YAML(pure=True).compose(text).value}
    node = nodes.get("roster")
    words = [] if node is None else [node.value] if isinstance(node.value, str) else [item.value for item in node.value]
    if node is None or name in words or ALL in words:
        return text
    start, end = node.start_mark.index, node.end_mark.index
    if alone and (isinstance(node.value, str) or node.flow_style):
        return f"{text[:start].rstrip()} {flow(name)}{text[end:]}"
    if isinstance(node.value, str):
        return f"{text[:start].rstrip()}\n- {text[start:end]}\n- {flow(name)}{text[end:]}"
    if node.flow_style:
        return f"{text[: end - 1]}{', ' if words else ''}{flow(name)}{text[end - 1 :]}"
    lines, last = text.splitlines(keepends=True), last_line(node)
    kept = lines[: node.start_mark.line] if alone else lines[: last + 1]
    return "".join([*kept, f"{' ' * node.start_mark.column}- {flow(name)}\n", *lines[last + 1 :]])


def last_line(node: Any) -> int:
    """The line at which the last value of a mapping ends; the mapping's own end mark is behind the next comments."""
    while not getattr(node, "flow_style", True) and node.value:
        last = node.value[-1]
        node = last[1] if isinstance(last, tuple) else last
    mark = node.end_mark
    return int(mark.line - 1 if mark.column == 0 and mark.line > node.start_mark.line else mark.line)


def _block(entry: dict[str, Any], indent: str) -> Iterator[str]:
    """One line per key; a long line becomes a block, and so does a list, as DVC writes it."""
    plain = [key for key, value in entry.items() if "[" not in flow(value)]
    if plain and plain[-1] != next(reversed(entry)):  # DVC loses a comment that follows a list: no list is last
        entry = {key: value for key, value in entry.items() if key != plain[-1]} | {plain[-1]: entry[plain[-1]]}
    for key, value in entry.items():
        line = f"{indent}{flow(key)}: {flow(value)}"
        if isinstance(value, dict) and len(line) > LONG:
            yield f"{indent}{flow(key)}:"
            yield from _block(value, f"{indent}  ")
        elif isinstance(value, list) and value:
            yield f"{indent}{flow(key)}:"
            yield from (f"{indent}- {flow(item)}" for item in value)
        else:
            yield line


def flow(value: Any) -> str:
    """A value in YAML's flow style, on one line."""
    stream = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style, yaml.width, yaml.sort_base_mapping_type_on_output = True, WIDE, False
    yaml.dump(value, stream)
    return stream.getvalue().removesuffix("...\n").strip()
