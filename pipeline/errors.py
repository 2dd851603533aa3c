"""The one error that is shown to a person without a traceback."""

from pipeline.terminal import laid_out


class UserError(Exception):
    """Something the user can mend: the message names the file, the field and the remedy.

    What its text has from files and data is shown, not obeyed: see pipeline/terminal.py.
    """

    def __str__(self) -> str:
        return laid_out(super().__str__())
