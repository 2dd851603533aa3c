#!/usr/bin/env bash
# Your own images in four commands, tried in a fresh clone: examples/own_images.sh [FOLDER]
# Without a folder of your own it makes one: 120 images of 48×48 pixels, half of them circles, half of them squares.
# It changes params.yaml, as `convline add` does, and trains the new jobs alone.
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
        image = Image.effect_noise((48, 48), 60).convert("RGB")
        left, top, side = pick.randrange(4, 20), pick.randrange(4, 20), pick.randrange(12, 24)
        draw = ImageDraw.Draw(image)
        shape = draw.ellipse if name == "circle" else draw.rectangle
        shape((left, top, left + side, top + side), fill=tuple(pick.randrange(256) for _ in "rgb"))
        image.save(folder / f"{number:03d}.png")
PYTHON
fi
name=$(basename "$images")

convline add "$images" --dry-run
convline add "$images"
sed -i "s/^roster: .*/roster: [$name-lenet5]/" params.yaml   # the new job alone; without this line all core jobs run
make repro
convline predict "$name-lenet5" "$images" --out answers
