"""`convline add`, `convline predict`, `convline doctor`, `convline trust`: from any folder of the project.

Only arguments are parsed here: a command's code and its libraries are imported when it runs.
"""

import argparse
import importlib
import os
import sys
from pathlib import Path

from pipeline import command, logs
from pipeline.errors import UserError


def main() -> int:
    """Run a command from the project's root; the exit code is 2 after a user's error."""
    command.set_up()
    arguments = _parser().parse_args()
    if arguments.quiet:
        os.environ[logs.QUIET] = "1"

    def act() -> int:
        arguments.paths = [Path(path).absolute() for path in arguments.paths]
        if getattr(arguments, "out", None) is not None:
            arguments.out = Path(arguments.out).absolute()
        root = project(Path.cwd())
        os.chdir(root)
        logs.configure(arguments.command, root)
        code: int = importlib.import_module(f"convline.{arguments.command}").run(arguments, root)
        return code

    return command.run(act)


def project(start: Path) -> Path:
    """The nearest folder from `start` up with params.yaml and dvc.yaml; UserError if there is none."""
    for folder in (start, *start.parents):
        if (folder / "params.yaml").is_file() and (folder / "dvc.yaml").is_file():
            return folder
    raise UserError(f"{start}: no params.yaml here or in a folder above. Go to a folder of the project.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convline", description="Add images, ask models, find what is wrong.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="add | predict | doctor | trust")
    every = argparse.ArgumentParser(add_help=False)
    every.add_argument("--quiet", action="store_true", help="show results, warnings and errors only")
    for name, (describe, summary) in COMMANDS.items():
        describe(commands.add_parser(name, help=summary, parents=[every]))
    return parser


def _add(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Recognise a folder of images, read it as `prepare` does, copy it to data/raw/ unless it lies there, "
        "`dvc add` it, and put it and first jobs for the tasks it allows into params.yaml."
    )
    parser.add_argument("paths", nargs=1, metavar="PATH", help="the folder")
    parser.add_argument("--name", help="its name in params.yaml; by default the folder's")
    parser.add_argument("--format", help="its format, instead of the recognised one: coco, csv, image_folder, …")
    option = "an option of the format, as in params.yaml: `classes: [background, road]`; may be repeated"
    parser.add_argument("--option", action="append", default=[], metavar="'NAME: VALUE'", help=option)
    parser.add_argument("--on-bad", choices=["error", "skip"], default="error", help="skip leaves faulty images out")
    parser.add_argument("--dry-run", action="store_true", help="show what would be written, and write nothing")


def _predict(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Ask a trained model about images: one JSON line per image, and with --out a picture each. "
        "A model that generates needs no images."
    )
    parser.add_argument("model", help="a job in models/, or a registered model, whose champion answers")
    parser.add_argument("paths", nargs="*", metavar="PATH", help="images, or folders of images")
    parser.add_argument("--out", metavar="DIR", help="write predictions.jsonl and the pictures there")
    parser.add_argument("--number", type=int, default=16, help="how many images to generate (16)")
    parser.add_argument("--seed", type=int, default=0, help="which images to generate (0)")


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.description = "List what is wrong; the exit code is 1 if anything is. Nothing is changed."
    parser.set_defaults(paths=[])


def _trust(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Sign a version of a registered model with the project's key: its code may then run here. "
        "Do so only if you know where it is from."
    )
    parser.add_argument("model", help="the registered model: digits-classification, …")
    parser.add_argument("version", help="the number of its version")
    parser.set_defaults(paths=[])


#: by command what adds its arguments, and its summary
COMMANDS = {
    "add": (_add, "recognise a folder of images, and put it and first jobs into params.yaml"),
    "predict": (_predict, "ask a trained model about images"),
    "doctor": (_doctor, "say what is wrong with the project, and what to do about it"),
    "trust": (_trust, "sign a registered model of others, so that its code may run here"),
}


if __name__ == "__main__":
    sys.exit(main())
