"""Model versions: exactly one a fingerprint, whatever is retried or raced."""

import contextlib
import io
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from pipeline import plugins
from pipeline.tracking import FINGERPRINT, Run

ROOT = Path(__file__).parent.parent
#: what the logged code imports
REQUIREMENTS = (
    "mlflow",
    "numpy",
    "opencv-python-headless",
    "pandas",
    "pillow",
    "pyarrow",
    "pydantic",
    "ruamel.yaml",
    "safetensors",
    "torch",
    "torchvision",
)


def find(client: Any, model: str, fingerprint: str) -> Any | None:
    """The version of a fingerprint: the first one, and none beside it."""
    found = client.search_model_versions(f"name = '{model}' and tags.`{FINGERPRINT}` = '{fingerprint}'")
    first, *later = sorted(found, key=lambda version: int(version.version)) or [None]
    for version in later:
        client.delete_model_version(model, version.version)
    return first


def champions(client: Any) -> dict[str, str]:
    """The fingerprint of each registered model's champion."""
    found = {}
    for model in client.search_registered_models():
        if "champion" in model.aliases:
            version = client.get_model_version(model.name, model.aliases["champion"])
            found[model.name] = version.tags[FINGERPRINT]
    return found


def ensure(run: Run, model: str, fingerprint: str, folder: Path, task: str) -> Any:
    """The fingerprint's version, logged and registered now if there is none."""
    import mlflow

    version = find(run.client, model, fingerprint)
    if version is not None:
        return version
    with contextlib.redirect_stderr(io.StringIO()):  # MLflow's own account of each step; errors still raise
        uri = _logged(run) or _log(run, folder, task)
        mlflow.register_model(uri, model, tags={FINGERPRINT: fingerprint})
    return find(run.client, model, fingerprint)


def _logged(run: Run) -> str | None:
    """The model that an earlier attempt logged to this run, if it is whole."""
    outputs = run.client.get_run(run.run_id).outputs
    for output in outputs.model_outputs if outputs else []:
        if run.client.get_logged_model(output.model_id).status == "READY":
            return f"models:/{output.model_id}"
    return None


def _log(run: Run, folder: Path, task: str) -> str:
    import mlflow

    with mlflow.start_run(run_id=run.run_id), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        info = mlflow.pyfunc.log_model(
            name="model",
            python_model=str(ROOT / "register" / "predictor.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(ROOT)],
            signature=_signature(plugins.constant("tasks", task, "OUTPUT")),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
    return str(info.model_uri)


def _signature(output: dict[str, str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    columns = []
    for name, kind in output.items():
        plain = DataType[kind.removesuffix("[]")]
        columns.append(ColSpec(Array(plain) if kind.endswith("[]") else plain, name))
    return ModelSignature(inputs=Schema([ColSpec("binary", "image")]), outputs=Schema(columns))
