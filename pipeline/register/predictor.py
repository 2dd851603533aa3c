"""The served model: MLflow loads this file; image bytes in, the task's answer out.

MLflow runs it with the copy of `pipeline` that was logged with the model, so an old model keeps its code. Weights are
safetensors; nothing is unpickled.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray

from pipeline import checkpoint, device, images, plugins
from pipeline.evaluate import predict
from pipeline.sample import Sample


class Predictor(mlflow.pyfunc.PythonModel):
    """One binary column `image` (PNG or JPEG bytes) → the columns that the task's OUTPUT declares."""

    def load_context(self, context: Any) -> None:
        """Rebuild the learner from the logged folder."""
        learner, description = checkpoint.load(Path(context.artifacts["model"]), device.choose())
        self.task = plugins.load("tasks", description["task"])
        self.settings = learner.settings
        self.reading = images.Reading(self.settings.bits, self.settings.first_page)
        self.predictor = predict.predictor(learner, description["task"])
        self.network_in_use = threading.Lock()  # a server predicts in threads, and forward hooks store activations

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """One row of answers per image, in order; an invalid image gives HTTP 400 with its row number, from 0."""
        if model_input.empty:
            raise _refused("the request is empty. Send one row per image, with the bytes of a PNG or JPEG.")
        answers = []
        for batch in predict.in_batches(self._decoded(model_input["image"]), lambda item: item.pixels[..., 0].size):
            inputs = [self.predictor.load(item) for item in batch]
            with self.network_in_use:
                predictions = self.predictor.predict(inputs)
            pairs = zip(batch, predictions, strict=True)
            answers += [self.task.answer(item, prediction, self.settings) for item, prediction in pairs]
        return pd.DataFrame(answers, columns=list(self.task.OUTPUT))

    def _decoded(self, rows: Sequence[Any]) -> Iterator[Sample]:
        """The images of a request, once all are found to be right; what does not fit in memory is decoded again."""
        kept: dict[int, NDArray[np.uint8]] = {}
        pixels = 0
        for number, data in enumerate(rows):
            image = _decode(number, data, self.reading)
            pixels += image[..., 0].size
            if pixels <= predict.BATCH_PIXELS:
                kept[number] = image
        for number, data in enumerate(rows):
            image = kept.pop(number) if number in kept else _decode(number, data, self.reading)
            yield Sample(id=str(number), image=image, label=0)


def _decode(number: int, data: Any, reading: images.Reading) -> NDArray[np.uint8]:
    if not isinstance(data, bytes):
        raise _refused(f"row {number} is not bytes. Send a PNG or JPEG, as base64 in JSON.")
    try:
        return images.decode(data, reading)
    except images.ImageError as error:
        raise _refused(f"row {number}: {error}") from error


def _refused(message: str) -> MlflowException:
    """The one kind of error whose message MLflow's server returns; for any other it returns a traceback."""
    return MlflowException.invalid_parameter_value(f"image: {message}")


mlflow.models.set_model(Predictor())
