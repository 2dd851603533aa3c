"""Ask a trained model about images.

It prints one JSON line per image, or with --out writes them and a picture each. A model that generates needs no
images.
"""

from pathlib import Path
from typing import Annotated

import typer

from convline import names


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A job in models/, or a registered model, whose champion answers.",
            autocompletion=names.models,
        ),
    ],
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH", help="Images, or folders of images.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write predictions.jsonl and the pictures there.")
    ] = None,
    number: Annotated[int, typer.Option(help="How many images to generate.")] = 16,
    seed: Annotated[int, typer.Option(help="Which images to generate.")] = 0,
) -> int:
    """Answer the images; the exit code is 1 if one could not be read."""
    from convline import predicting

    return 0 if predicting.predict(Path.cwd(), model, paths or (), out=out, number=number, seed=seed) else 1
