#!/usr/bin/env bash
# Your own images in four commands, to be tried in a fresh clone: examples/own_images.sh [FOLDER]
# FOLDER holds one folder per class. Without one it makes 60 images of circles and 60 of squares, 48×48 pixels each.
# `convline add` writes the data set and its first jobs into params.yaml; one of them is trained.
set -euo pipefail
cd "$(dirname "$0")/.."
make setup
source .venv/bin/activate

images=${1:-}
if [[ -z "$images" ]]; then
    images=$(mktemp -d)/shapes
    python - "$images" <<'PYTHON'
import random
import sys
from pathlib import Path

from PIL import Image, ImageDraw

pick = random.Random(0)
for name in ("circle", "square"):
    folder = Path(sys.argv[1], name)
    folder.mkdir(parents=True)
    for number in range(60):
        image = Image.new("RGB", (48, 48), tuple(pick.randrange(256) for _ in "rgb"))
        left, top, side = pick.randrange(4, 20), pick.randrange(4, 20), pick.randrange(12, 24)
        draw = ImageDraw.Draw(image)
        shape = draw.ellipse if name == "circle" else draw.rectangle
        shape((left, top, left + side, top + side), fill=tuple(pick.randrange(256) for _ in "rgb"))
        image.save(folder / f"{number:03d}.png")
PYTHON
fi
name=$(basename "$images")

convline add "$images" --name "$name" --dry-run
convline add "$images" --name "$name"
convline run "$name-resnet"
convline predict "$name-resnet" "$images" --out .work/answers
