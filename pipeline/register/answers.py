"""Ask a registered model about stored images, in a process of its own: `answers.py URI MODEL IMAGES ANSWERS`.

Run as a file, so that the model brings its own copy of `pipeline` and today's code stays out.
"""

import json
import sys
from pathlib import Path

BATCH = 64


def main(tracking_uri: str, model_uri: str, images: Path, answers: Path) -> None:
    """Answer a parquet file's `image` column (PNG bytes), a JSON line an image."""
    import logging

    project = Path(__file__).resolve().parents[2]
    sys.path[:] = [place for place in sys.path if Path(place).resolve() != project]  # where convline is installed

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
