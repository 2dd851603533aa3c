"""The one error that is shown to a person without a traceback."""


class UserError(Exception):
    """Something the user can mend: the message names the file, the field and the remedy."""
