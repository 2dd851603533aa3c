"""The error that is shown to a person without a traceback."""

from pipeline.terminal import escape_lines


class UserError(Exception):
    """An error that the user can fix: the message names the file, the field and the remedy.

    Text from files and data is escaped: see pipeline/terminal.py.
    """

    def __str__(self) -> str:
        return escape_lines(super().__str__())
