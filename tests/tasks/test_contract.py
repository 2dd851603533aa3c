"""Every task keeps the contract; a new file in pipeline/tasks/ is tested without an edit here."""

import inspect

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline import plugins
from pipeline.learners.base import Settings
from pipeline.sample import FIELDS, Sample

TASKS = plugins.names("tasks")
FUNCTIONS = {
    "learner": ("network", "settings"),
    "collate": ("samples", "settings"),
    "rows": ("sample", "prediction"),
    "scorer": ("table", "settings"),
    "figures": ("table", "settings"),
    "draw": ("sample", "prediction", "settings"),
    "answer": ("sample", "prediction", "settings"),
    "prediction": ("sample", "answered", "settings"),
}


@pytest.mark.parametrize("name", TASKS)
def test_constants(name: str) -> None:
    needs = plugins.constant("tasks", name, "NEEDS")  # read without importing, so they must be literals
    assert isinstance(needs, tuple)
    assert set(needs) <= set(FIELDS)
    assert plugins.constant("tasks", name, "CLASSES") in ("classes", "semantic_classes")
    module = plugins.load("tasks", name)
    assert needs == module.NEEDS
    assert isinstance(module.PRIMARY, str)
    assert isinstance(module.HIGHER_IS_BETTER, bool)
    assert module.OUTPUT
    assert all(isinstance(key, str) and isinstance(value, str) for key, value in module.OUTPUT.items())


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_take_what_callers_give(name: str, function: str) -> None:
    parameters = inspect.signature(getattr(plugins.load("tasks", name), function)).parameters
    positional = [key for key, parameter in parameters.items() if parameter.kind is not parameter.KEYWORD_ONLY]
    assert tuple(positional) == FUNCTIONS[function]


@pytest.mark.parametrize("name", TASKS)
def test_options_are_keyword_only_typed_and_have_a_default(name: str) -> None:
    parameters = inspect.signature(plugins.load("tasks", name).learner).parameters
    for option in plugins.options("tasks", name, "learner") or []:
        assert parameters[option].annotation is not inspect.Parameter.empty
        assert parameters[option].default is not inspect.Parameter.empty


@pytest.mark.parametrize("name", TASKS)
def test_every_function_has_a_docstring(name: str) -> None:
    module = plugins.load("tasks", name)
    assert all(getattr(module, function).__doc__ for function in FUNCTIONS)


def uniform(classes: int) -> NDArray[np.float32]:
    return np.full(classes, 1 / classes, np.float32)


@pytest.mark.parametrize("name", [name for name in TASKS if name == "classification"])
def test_an_answer_is_what_output_declares_and_gives_the_prediction_back(name: str) -> None:
    module = plugins.load("tasks", name)
    sample = Sample("x", np.zeros((4, 4, 3), np.uint8))
    settings = Settings(("a", "b", "c"), (), (1, 1, 1), 3, 4, (0.5,) * 3, (0.5,) * 3)
    answered = module.answer(sample, uniform(3), settings)
    assert list(answered) == list(module.OUTPUT)
    np.testing.assert_array_equal(module.prediction(sample, answered, settings), uniform(3))
