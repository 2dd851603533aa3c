"""Removes and renames entries of a YAML text; the other text stays as it is, byte for byte.

As in convline/edit.py, ruamel only finds where entries begin and end.
"""

from typing import Any

from ruamel.yaml import YAML

from convline import edit
from pipeline.params_old import Path

WIDTH = 80


class Draft:
    """A text, and the changes that `text()` makes to it."""

    def __init__(self, text: str) -> None:
        self._text = text if text.endswith("\n") else f"{text}\n"
        self._root = YAML(pure=True).compose(self._text)
        self._lines = self._text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))
        self._changes: dict[tuple[int, int], str] = {}
        self._removed: dict[Path, set[int]] = {}

    def rename(self, path: Path, name: str) -> None:
        """Give a key another name."""
        parent, number = self._find(path)
        key = parent.value[number][0]
        self._changes[key.start_mark.index, key.end_mark.index] = name

    def replace(self, path: Path, value: Any) -> None:
        """Give a setting another value; its old one is no block of lines."""
        parent, number = self._find(path)
        item = parent.value[number]
        node = item[1] if isinstance(item, tuple) else item
        self._changes[node.start_mark.index, node.end_mark.index] = edit.flow(value)

    def remove(self, path: Path) -> None:
        """Remove an entry of a mapping, with the lines of comments right above it."""
        _, number = self._find(path)
        self._removed.setdefault(path[:-1], set()).add(number)

    def set_top(self, sections: dict[str, Any]) -> None:
        """Write these sections where the first of them is, or at the top, and remove what they were."""
        new = "".join(_section(name, value) for name, value in sections.items())
        spans = []
        for key, value in self._root.value:
            if key.value in sections:
                end = self._starts[max(int(key.start_mark.line), edit.last_line(value)) + 1]
                spans.append((self._starts[key.start_mark.line], end))
        if not spans:
            first = self._first_line(self._root, 0)
            spans = [(self._starts[first], self._starts[first])]
            new = f"{new}\n"
        self._changes |= dict.fromkeys(spans, "") | {spans[0]: new}

    def text(self) -> str:
        """The changed text."""
        changes = dict(self._changes)
        for path, numbers in self._removed.items():
            changes |= self._removals(path, numbers)
        text, end = "", len(self._text)
        for (start, stop), new in sorted(changes.items(), reverse=True):
            inside = any(first <= start and stop <= last for first, last in changes if (first, last) != (start, stop))
            if not inside:
                text, end = f"{new}{self._text[stop:end]}{text}", start
        return self._text[:end] + text

    def _find(self, path: Path) -> tuple[Any, int]:
        """The node that contains the entry at `path`, and the entry's position; ValueError if the text has no such."""
        node = self._root
        for depth, part in enumerate(path):
            number = part if isinstance(part, int) else [str(key.value) for key, _ in node.value].index(part)
            if depth == len(path) - 1:
                return node, number
            item = node.value[number]
            node = item[1] if isinstance(item, tuple) else item
        raise LookupError(path)

    def _removals(self, path: Path, numbers: set[int]) -> dict[tuple[int, int], str]:
        """The changes that remove entries of the mapping at `path`; one that gets empty becomes `{}`."""
        node = self._root
        if path:
            parent, number = self._find(path)
            key, node = parent.value[number]
            if len(numbers) == len(node.value):
                end = node.end_mark.index if node.flow_style else self._starts[edit.last_line(node) + 1] - 1
                return {(self._text.index(":", key.end_mark.index) + 1, end): " {}"}
        remove_run = self._flow_run if node.flow_style else self._block_run
        runs: list[list[int]] = []
        for number in sorted(numbers):
            if runs and runs[-1][-1] == number - 1:
                runs[-1].append(number)
            else:
                runs.append([number])
        return {remove_run(node, run[0], run[-1]): "" for run in runs}

    def _flow_run(self, node: Any, first: int, last: int) -> tuple[int, int]:
        """From the first entry to the next one that stays, or from the end of the one before to the last entry's."""
        if last + 1 < len(node.value):
            return node.value[first][0].start_mark.index, node.value[last + 1][0].start_mark.index
        return node.value[first - 1][1].end_mark.index, node.value[last][1].end_mark.index

    def _block_run(self, node: Any, first: int, last: int) -> tuple[int, int]:
        """Whole lines, with the blank ones after them, or before them at the end of the mapping."""
        start, end = self._first_line(node, first), self._last_line(node, last) + 1
        if last + 1 < len(node.value):
            while self._blank(end):
                end += 1
        else:
            while self._blank(start - 1):
                start -= 1
        return self._starts[start], self._starts[end]

    def _first_line(self, node: Any, number: int) -> int:
        """The first line of the comments right above an entry, or the entry's own."""
        key = node.value[number][0].start_mark
        top = self._last_line(node, number - 1) + 1 if number else 0
        line = int(key.line)
        while line > top and self._lines[line - 1].lstrip().startswith("#"):
            line -= 1
        return line

    def _last_line(self, node: Any, number: int) -> int:
        value = node.value[number][1]
        key_line = int(node.value[number][0].start_mark.line)
        return max(key_line, edit.last_line(value))

    def _blank(self, line: int) -> bool:
        return 0 <= line < len(self._lines) and not self._lines[line].strip()


def _section(name: str, value: Any) -> str:
    """A section in lines; long lists are wrapped."""
    if not isinstance(value, dict):
        return f"{name}: {_wrapped(value, len(name) + 2, 2)}\n"
    lines = (f"  {edit.flow(key)}: {_wrapped(item, len(key) + 4, 4)}\n" for key, item in value.items())
    return f"{name}:\n{''.join(lines)}"


def _wrapped(value: Any, column: int, indent: int) -> str:
    """A value in flow style, on lines of at most WIDTH columns; it begins at `column`."""
    words = edit.flow(value).replace(", ", ",\0").split("\0")
    lines, room = [words[0]], WIDTH - column
    for word in words[1:]:
        if len(lines[-1]) + 1 + len(word) > room:
            lines.append(word)
            room = WIDTH - indent
        else:
            lines[-1] += f" {word}"
    return f"\n{' ' * indent}".join(lines)
