"""The contract of a report section: a file of pipeline/report/sections/ or plugins/sections/.

An example is `pipeline/report/sections/examples.py`; `convline new section NAME` writes one.
"""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pipeline.report.results import Results


class Section(Protocol):
    """A part of the report's page."""

    TITLE: str
    """The heading."""

    ORDER: int
    """Position on the page, from top to bottom; no two sections have the same."""

    def render(self, results: "Results") -> str:
        """HTML, or "" where there is nothing to say. Text from data passes `html.escape`."""
        ...
