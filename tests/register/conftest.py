"""A small project that is trained and measured, and not registered yet."""

import shutil
from pathlib import Path

import pytest

from pipeline.evaluate import stage as evaluate_stage
from pipeline.params import Params
from pipeline.train import stage as train_stage
from tests.helpers import support


@pytest.fixture(scope="session")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Params]:
    """A good and a weak model, measured; read-only: copy it or link to it, don't write."""
    root = tmp_path_factory.mktemp("trained")
    shutil.copytree(digits / "data", root / "data")
    params = support.write_params(root, {"good": support.GOOD, "weak": support.WEAK})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.train.ray_train.run", support.train_here)
        patch.setattr("pipeline.evaluate.speed.MIN_S", 0.0)
        train_stage.run(params, root)
        evaluate_stage.run(params, root)
    return root, params
