"""Reads YAML within bounds: a few lines of aliases can stand for more values than fit into memory.

YAML 1.2, as DVC reads it. Bounds are checked while the text is parsed, before values are made.
"""

import copy
import functools
import re
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import CollectionNode, Node
from ruamel.yaml.scanner import Scanner

#: characters, which take some seconds to read: a list of 13,000 classes has about 330,000
MAX_CHARACTERS = 500_000
#: lists and mappings within each other: params.yaml has 8
MAX_DEPTH = 50
#: values that all aliases (`*name`) together stand for: ten lines can stand for ten thousand million
MAX_REPEATED = 100_000
HALF = re.compile("[\ud800-\udfff]")


def load(text: str) -> Any:
    """The values of a YAML text; ValueError says what is wrong, at which line, and what to do."""
    return copy.deepcopy(_parsed(text))


@functools.lru_cache(maxsize=8)  # a command reads params.yaml and the files beside it several times
def _parsed(text: str) -> Any:
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"{len(text):,} characters of YAML, more than {MAX_CHARACTERS:,}. Shorten it")
    reader = YAML(typ="safe", pure=True)
    reader.Scanner, reader.Composer, reader.max_depth = _Scanner, _Composer, MAX_DEPTH
    try:
        return reader.load(text)
    except MaxDepthExceededError as error:
        raise ValueError(f"{_line(error)}nested more than {MAX_DEPTH} deep. Write it flatter") from error
    except YAMLError as error:
        raise ValueError(f"not valid YAML. {_problem(error)}. Correct it") from error
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        # ruamel makes dates and numbers of what looks like them, and does not always look well
        raise ValueError(f"not valid YAML. A value can't be read: {error}. Put it into quotes") from error


class _Scanner(Scanner):
    """Limits the depth of brackets: the scanner looks ahead, and each bracket takes as long as all before it."""

    def fetch_flow_collection_start(self, TokenClass: Any, to_push: str) -> None:  # noqa: N803 (ruamel's name)
        """Scan an opening bracket."""
        if self.flow_level > MAX_DEPTH:
            mark = self.reader.get_mark()
            raise MaxDepthExceededError(None, None, None, mark)
        super().fetch_flow_collection_start(TokenClass, to_push)


class _Composer(Composer):
    """Limits the number and the depth of the values that aliases repeat."""

    def __init__(self, loader: Any = None) -> None:
        super().__init__(loader)
        self.repeated = 0
        self.measured: dict[int, tuple[int, int]] = {}

    def compose_scalar_node(self, anchor: Any) -> Any:
        """A scalar; no file can hold half of a surrogate pair."""
        node = super().compose_scalar_node(anchor)
        if HALF.search(node.value):  # `"\\ud800"`
            raise ComposerError(None, None, "half of a surrogate pair, which is no character", node.start_mark)
        return node

    def return_alias(self, a: Any) -> Any:
        """The node that an alias stands for."""
        values, depth = self._measure(a)
        self.repeated += values
        if self.repeated > MAX_REPEATED:
            raise ComposerError(None, None, f"aliases stand for more than {MAX_REPEATED:,} values", a.start_mark)
        if self.depth + depth > MAX_DEPTH:
            raise ComposerError(None, None, f"aliases nest more than {MAX_DEPTH} deep", a.start_mark)
        return a

    def _measure(self, node: Node) -> tuple[int, int]:
        """The number of values in a node, itself included, and its depth."""
        if not isinstance(node, CollectionNode):
            return 1, 1
        if node.end_mark is None:
            raise ComposerError(None, None, "an alias stands for a value that contains it", node.start_mark)
        if id(node) not in self.measured:
            inner = [part for item in node.value for part in (item if isinstance(item, tuple) else (item,))]
            sizes = [self._measure(part) for part in inner]
            deepest = max((depth for _, depth in sizes), default=0)
            self.measured[id(node)] = 1 + sum(values for values, _ in sizes), 1 + deepest
        return self.measured[id(node)]


def _line(error: MarkedYAMLError) -> str:
    return "" if error.problem_mark is None else f"Line {error.problem_mark.line + 1}: "


def _problem(error: YAMLError) -> str:
    """The line at which a YAML text can't be read, and why."""
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        return f"{_line(error)}{error.problem}"
    return " ".join(str(error).split())
