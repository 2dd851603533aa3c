"""The command line around the commands: their listing, help, completion, common options, and errors of usage.

Typer parses; a command's own file is imported when it is called, helped with, or completed, and not to list it.
"""

import ast
import functools
import importlib
import inspect
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from pipeline import logs, plugins
from pipeline.errors import UserError
from pipeline.terminal import output

PROGRAM = "convline"
ABOUT = "Add images, train, compare and ask models, find what is wrong."
EPILOG = "`convline COMMAND --help` explains a command. Exit codes: 0 done, 1 found or failed, 2 your error, 130 Ctrl-C"
#: columns of help at most, and at least
WIDE, NARROW = 80, 30
HELP = ["-h", "--help"]
FOLDER = Path(__file__).parent / "commands"

#: the option of a command that has a result
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document, messages on stderr.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show results, warnings and errors only.")]
Call = Callable[[], int]


def names() -> list[str]:
    """Names of all commands, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_"))


def documentation(name: str) -> str:
    """A command's docstring, read without an import."""
    return ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))) or ""


class Group(TyperGroup):
    """The commands; an unknown one is told with near names."""

    def get_params(self, ctx: Any) -> Any:
        """The options, all of them flags, with False for None: to check a None takes typer an import of pydantic."""
        options = super().get_params(ctx)
        for option in options:
            option.default = option.default or False
        return options

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first word names."""
        if args[0] not in self.commands and not ctx.resilient_parsing:
            what = plugins.unknown("command", args[0], self.commands)
            raise UserError(f"{PROGRAM}: {what}\nTry `{PROGRAM} --help`.")
        return super().resolve_command(ctx, args)


def parse(words: Sequence[str]) -> Call:
    """The call that the words of a command line ask for; help, version and completion are printed at once.

    Raises:
        UserError: in one sentence what is wrong with the words.
    """
    try:
        call = group().main(list(words), prog_name=PROGRAM, standalone_mode=False)
    except TyperException as error:
        raise UserError(_sentence(error, words)) from error
    return call if callable(call) else functools.partial(int, call or 0)


def group() -> Group:
    """The whole command line."""
    width = min(WIDE, max(NARROW, shutil.get_terminal_size().columns))
    settings = {"terminal_width": width, "help_option_names": HELP}
    app = typer.Typer(cls=Group, rich_markup_mode=None, context_settings=settings)
    app.callback(help=ABOUT, epilog=EPILOG, invoke_without_command=True)(_begin)
    made = typer.main.get_command(app)
    assert isinstance(made, Group)
    for name in names():
        made.add_command(Unread(name, rich_markup_mode=None))
    return made


def _sentence(error: TyperException, words: Sequence[str]) -> str:
    """What is wrong with a command line: with near names, and where the help is."""
    context = getattr(error, "ctx", None)
    path = context.command_path if context else " ".join([PROGRAM, *(word for word in words[:1] if word in names())])
    return f"{path}: {_fault(error, context)}\nTry `{path} --help`."


def _fault(error: Any, context: Any) -> str:
    """Typer's sentence, but with near names of a wrong option, and without pydantic's words on a wrong value."""
    if hasattr(error, "possibilities"):
        options = [name for parameter in context.command.get_params(context) for name in parameter.opts]
        return plugins.unknown("option", error.option_name, [name for name in options if name.startswith("-")])
    if isinstance(error.__cause__, ValueError) and hasattr(error.__cause__, "errors"):
        hint, form = error.param.get_error_hint(), error.param.display_type(context)
        return f"{hint}: {error.__cause__.errors()[0]['input']!r} is not of the form {form}."
    return str(error.format_message())


class Unread(TyperCommand):
    """A command whose file is not imported yet: that is done where its own arguments are read."""

    def get_short_help_str(self, limit: int = 45) -> str:
        """The summary, whatever its length: lines are wrapped."""
        return documentation(str(self.name)).partition("\n")[0]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """The context of the command as its file defines it."""
        return read(str(self.name)).make_context(info_name, args, parent, **extra)


def read(name: str) -> TyperCommand:
    """Import a command and add the common options."""
    module = importlib.import_module(f"convline.commands.{name}")

    def call(*, quiet: bool, **values: Any) -> Call:
        if quiet:
            os.environ[logs.QUIET] = "1"
        return functools.partial(_run, name, module.command, values)

    own = inspect.signature(module.command, eval_str=True)
    shared = inspect.Parameter("quiet", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Quiet)
    call.__signature__ = own.replace(parameters=[*own.parameters.values(), shared])  # type: ignore[attr-defined]
    app = typer.Typer(rich_markup_mode=None, add_completion=False)
    app.command(name, help=documentation(name))(call)
    made = typer.main.get_command(app)
    assert isinstance(made, TyperCommand)
    return made


def help_text(name: str) -> str:
    """The help of a command, as a wide terminal shows it."""
    made = read(name)
    context = typer.Context(made, info_name=f"{PROGRAM} {name}", terminal_width=WIDE, help_option_names=HELP)
    return context.get_help()


def project(start: Path) -> Path:
    """The nearest folder from `start` up with params.yaml and dvc.yaml; UserError if there is none."""
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    what = "neither this folder nor one above has params.yaml and dvc.yaml"
    raise UserError(f"{start}: {what}. Go to a folder of the project.")


def _run(name: str, command: Callable[..., int], values: dict[str, Any]) -> int:
    """Run a command in the project's root, with paths that count from where the user is."""
    values = {key: _absolute(value) for key, value in values.items()}
    root = project(Path.cwd())
    os.chdir(root)
    logs.configure(name, root, all_to_stderr=bool(values.get("json")))
    return command(**values)


def _absolute(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_absolute(item) for item in value]
    return value.absolute() if isinstance(value, Path) else value


def _begin(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version, in a clone with its commit.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """What happens before a command: options of the program itself; without any word the help is shown."""
    if quiet:
        os.environ[logs.QUIET] = "1"
    if show_version or context.invoked_subcommand is None:
        output(_version() if show_version else context.get_help())
        raise typer.Exit


def _version() -> str:
    from convline import version  # the library that knows takes as long to import as all of the rest

    return version.text()
