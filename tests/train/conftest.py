"""Data for every kind of learner."""

from pathlib import Path

import pytest

from tests.helpers import few_digits, learners, support


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with half of the digits and a few scenes prepared; read-only: link to it, don't write."""
    root = tmp_path_factory.mktemp("prepared")
    jobs = {"classifier": learners.CLASSIFIER, "detector": learners.DETECTOR}
    with few_digits.only(900):
        support.prepared(root, support.write_params(root, jobs, datasets=learners.DATASETS))
    return root
