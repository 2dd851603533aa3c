"""Run a registered model on stored images, in its own process: `answers.py URI MODEL IMAGES ANSWERS`.

It is run as a file, so that the model uses its own copy of `pipeline` and not this one.
"""

import json
import sys
from pathlib import Path

BATCH = 64


def main(tracking_uri: str, model_uri: str, images: Path, answers: Path) -> None:
    """Predict a parquet file's `image` column (PNG bytes), and write one JSON line per image."""
    import logging

    project = Path(__file__).resolve().parents[2]
    sys.path[:] = [path for path in sys.path if Path(path).resolve() != project]  # where convline is installed

    import mlflow
    import pyarrow.parquet as pq

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    mlflow.set_tracking_uri(tracking_uri)
    model = mlflow.pyfunc.load_model(model_uri)
    with answers.open("w", encoding="utf-8") as file:
        for batch in pq.ParquetFile(images).iter_batches(BATCH):
            for record in model.predict(batch.to_pandas()).to_dict("records"):
                file.write(json.dumps(record) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
