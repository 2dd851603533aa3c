"""`convline`: a person's commands, from any folder of the project; `convline --help` lists them."""

import sys

from pipeline import command


def main() -> int:
    """Run a command; the exit code is 2 after a user's error."""
    command.set_up()
    return command.run(_act)


def _act() -> int:
    from convline import frame  # here, where Ctrl-C during the import ends without a traceback

    return frame.parse(sys.argv[1:])()


if __name__ == "__main__":
    sys.exit(main())
