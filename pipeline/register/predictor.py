"""The served model, as MLflow loads it: image bytes in, the task's answer out.

MLflow runs this file with the copy of `pipeline` that was logged beside it, so an old model keeps its code.
Weights are safetensors; nothing is unpickled.
"""

from pathlib import Path
from typing import Any

import mlflow
import pandas as pd

from pipeline import images, plugins
from pipeline.evaluate import predict
from pipeline.models import _stored
from pipeline.sample import Sample


class Predictor(mlflow.pyfunc.PythonModel):
    """One binary column `image` (PNG or JPEG bytes) → the columns that the task's OUTPUT declares."""

    def load_context(self, context: Any) -> None:
        """Rebuild the learner from the logged folder."""
        learner, description = _stored.load(Path(context.artifacts["model"]))
        self.task = plugins.load("tasks", description["task"])
        self.settings = learner.settings
        self.predict_samples = predict.predictor(learner, description["task"])

    def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> pd.DataFrame:
        """A row of answers an image, in order."""
        answers = []
        for number, data in enumerate(model_input["image"]):
            sample = Sample(id=str(number), image=images.decode(bytes(data)), label=0)
            (prediction,) = self.predict_samples([sample])
            answers.append(self.task.answer(sample, prediction, self.settings))
        return pd.DataFrame(answers, columns=list(self.task.OUTPUT))


mlflow.models.set_model(Predictor())
