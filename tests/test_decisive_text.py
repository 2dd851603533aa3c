"""What can't change a result is no part of a definition's text, and all else is."""

import ast

import pytest

from pipeline.decisive_text import strip

BEFORE = '''
"""A module."""
import logging
from dataclasses import dataclass

log = logging.getLogger(__name__)

@dataclass
class Net:
    """A class."""
    width: int
    depth: int = 2

    def forward(self, x: int) -> int:
        """A method."""
        log.info(f"{x} of {self.width}")
        assert x, "no x"
        if x > 3:
            raise ValueError(f"{x} is too large: " + "lower it")
        y: int = x * 2
        return y
'''


def text(source: str) -> str:
    return ast.unparse(strip(ast.parse(source)))


def edited(old: str, new: str) -> str:
    assert old in BEFORE
    return BEFORE.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', ""),
        ('"""A class."""', '"""Another."""'),
        ('        """A method."""\n', ""),
        ("return y", "return (  # a comment\n            y)"),
        ("x: int", "x: float"),
        ("-> int", ""),
        ("y: int = x", "y = x"),
        ("width: int", "width: float"),
        ('        log.info(f"{x} of {self.width}")\n', ""),
        ("log.info", "log.warning"),
        ('"no x"', 'f"no x in {self}"'),
        ('"{x} is too large: " + "lower it"', '"{x} exceeds {self.depth}"'),
        ("x * 2", "x * 0x2"),
    ],
)
def test_words_and_form_are_no_part(old: str, new: str) -> None:
    assert text(edited(old, new)) == text(BEFORE)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("x * 2", "x * 3"),
        ("x > 3", "x > 4"),
        ("assert x,", "assert not x,"),
        ("raise ValueError", "raise KeyError"),
        ("depth: int = 2", "depth: int = 3"),
        ("width: int", "breadth: int"),
        ("depth: int = 2", "depth: ClassVar[int] = 2"),
        ("self, x: int", "self, x: int = 1"),
        ("@dataclass\n", ""),
        ('        """A method."""\n', '        x = """a text that is no docstring"""\n'),
        ("log.info(f", "log.append(f"),
    ],
)
def test_what_runs_is_a_part(old: str, new: str) -> None:
    assert text(edited(old, new)) != text(BEFORE)


def test_imports_for_annotations_and_scripts_are_no_part() -> None:
    script = "\nif TYPE_CHECKING:\n    import torch\nif __name__ == '__main__':\n    main()\n"
    assert text(BEFORE + script) == text(BEFORE)
    assert text(BEFORE + "\nif name.__name__ == 'x':\n    main()\n") != text(BEFORE)


def test_an_empty_function_stays_one() -> None:
    assert text('def f():\n    """Nothing."""\n') == "def f():\n    pass"
