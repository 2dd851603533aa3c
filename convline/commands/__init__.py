"""The commands of `convline`, one file each: the listing is the registry.

`NAME.py` has a docstring, whose first line is the summary in `convline --help`; the help of NAME shows all of it. It
defines `def command(…) -> int`: its parameters with Typer's annotations are the arguments and options, and what it
returns is the exit code: 0 done, 1 something was found or failed. A user's error is `pipeline.errors.UserError`, which
becomes one message and exit code 2.

`command` runs in the project's root, gets absolute paths, and finds `--quiet` handled. A command with a result
takes `json: convline.frame.Json = False` and prints the result by `pipeline.terminal.output`; with `--json` all
messages go to standard error. Libraries that take time to import are imported inside `command`, because the file itself
is imported for help and completion.
"""
