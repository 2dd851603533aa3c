"""Model versions: exactly one per fingerprint, signed, also after retries, races and kills."""

import contextlib
import io
import shutil
import tempfile
import warnings
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from pipeline import plugins, project, store
from pipeline.register import trust
from pipeline.tracking import FINGERPRINT, Run

PIPELINE = project.CODE / "pipeline"
NAME = "model"
#: packages that the logged code imports
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


def find(client: Any, keys: list[bytes], model: str, fingerprint: str) -> Any | None:
    """The first version of a fingerprint that one of the keys has signed; later duplicates are deleted.

    Unsigned versions with this fingerprint are ignored.
    """
    versions = client.search_model_versions(f"name = '{model}' and tags.`{FINGERPRINT}` = '{fingerprint}'")
    ours = [version for version in versions if trust.signed(keys, version) is not None]
    first, *later = sorted(ours, key=lambda version: int(version.version)) or [None]
    for version in later:
        client.delete_model_version(model, version.version)
    return first


def champions(client: Any) -> dict[str, Any]:
    """The champion of each registered model that has one."""
    return {
        model.name: client.get_model_version(model.name, model.aliases["champion"])
        for model in client.search_registered_models()
        if "champion" in model.aliases
    }


def ensure(run: Run, keys: list[bytes], model: str, folder: Path, what: dict[str, str], root: Path) -> Any:
    """The version of a model's folder; logs, signs and registers it if there is none.

    Args:
        run: the run that trained the model.
        keys: the keys whose signatures are valid; the first signs.
        model: the registered model's name.
        folder: the stored model, with its manifest.
        what: the model's `task`, and the `words` that describe the version.
        root: the project.
    """
    fingerprint = str(store.manifest(folder)["fingerprint"])
    version = find(run.client, keys, model, fingerprint)
    _remove_strays(run, root)
    if version is None:
        logged, files = _log(run, folder, what["task"])
        tags = {FINGERPRINT: fingerprint, trust.SIGNATURE: trust.sign(keys[0], model, fingerprint, files)}
        _create_registered(run.client, model)
        source, words = f"models:/{logged}", what["words"]
        run.client.create_model_version(model, source, run.run_id, tags, description=words, model_id=logged)
        version = find(run.client, keys, model, fingerprint)
    elif version.description is None:
        run.client.update_model_version(model, version.version, what["words"])
    _link(run, logged_id(version))
    return version


def logged_id(version: Any) -> str | None:
    """The id of the logged model that a version was made from, if it names one."""
    scheme, _, rest = str(version.source).partition(":/")
    return rest if scheme == "models" and "/" not in rest else None


def _create_registered(client: Any, model: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        client.get_registered_model(model)
    except MlflowException:
        client.create_registered_model(model)


def _log(run: Run, folder: Path, task: str) -> tuple[str, str]:
    """Log a stored model with today's code; its id, and the digest of its files as they were written here."""
    import mlflow

    stored = run.stored()
    client, experiment_id = run.client, stored.info.experiment_id
    logged = client.create_logged_model(experiment_id, NAME, source_run_id=run.run_id, params=stored.data.params)
    description = mlflow.models.Model(
        artifact_path=logged.artifact_location,
        run_id=run.run_id,
        model_uuid=logged.model_id,
        model_id=logged.model_id,
    )
    with (
        tempfile.TemporaryDirectory() as temporary,
        warnings.catch_warnings(),
        contextlib.redirect_stderr(io.StringIO()),  # MLflow reports each step; errors still raise
    ):
        warnings.simplefilter("ignore")
        mlflow.pyfunc.save_model(
            path=f"{temporary}/{NAME}",
            mlflow_model=description,
            python_model=str(PIPELINE / "register" / "predictor.py"),
            artifacts={"model": str(folder)},
            code_paths=[str(PIPELINE), *([str(plugins.OWN)] if any(plugins.OWN.rglob("*.py")) else [])],
            signature=_signature(plugins.constant("tasks", task, "OUTPUT")),
            pip_requirements=[f"{name}=={installed(name)}" for name in REQUIREMENTS],
        )
        files = trust.digest(Path(temporary, NAME))
        client.log_model_artifacts(logged.model_id, f"{temporary}/{NAME}")
    client.finalize_logged_model(logged.model_id, "READY")
    return str(logged.model_id), files


def _link(run: Run, logged: str | None) -> None:
    """Add the logged model to the run's outputs, if it is missing there."""
    from mlflow.entities import LoggedModelOutput

    outputs = run.stored().outputs
    there = {output.model_id for output in outputs.model_outputs} if outputs else set()
    if logged is not None and logged not in there:
        run.client.log_outputs(run.run_id, [LoggedModelOutput(logged, 0)])


def _remove_strays(run: Run, root: Path) -> None:
    """Remove logged models of a run that no version names: a process was killed before it registered them."""
    sources = [version.source for version in run.client.search_model_versions(f"run_id = '{run.run_id}'")]
    experiment_id = run.stored().info.experiment_id
    for logged in run.client.search_logged_models([experiment_id], f"source_run_id = '{run.run_id}'"):
        named = any(logged.model_id in str(source) for source in sources)
        if logged.name == NAME and not named:
            artifacts = trust.local(root, logged.artifact_location)
            if artifacts is not None and artifacts.parent.name == logged.model_id:
                shutil.rmtree(artifacts.parent)
            run.client.delete_logged_model(logged.model_id)


def _signature(output: dict[str, str]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import Array, ColSpec, DataType, Schema

    columns = []
    for name, kind in output.items():
        plain = DataType[kind.removesuffix("[]")]
        columns.append(ColSpec(Array(plain) if kind.endswith("[]") else plain, name))
    return ModelSignature(inputs=Schema([ColSpec("binary", "image")]), outputs=Schema(columns))
