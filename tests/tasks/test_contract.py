"""Every task keeps the contract; a new file, also in plugins/tasks/, is tested without an edit here."""

import dataclasses
import inspect
import json

import numpy as np
import pyarrow as pa
import pytest

from pipeline import images, plugins, scores
from pipeline.contracts import check
from pipeline.contracts.members import is_optional
from pipeline.contracts.task import Task
from pipeline.sample import FIELDS
from tests.helpers import predictions
from tests.helpers.annotated import SAMPLE

TASKS = plugins.names("tasks")
#: by name, the arguments that callers give
FUNCTIONS = {
    name: [key for key, parameter in inspect.signature(function).parameters.items() if parameter.kind == 1][1:]
    for name, function in check.functions(Task).items()
    if not is_optional(function)
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
    assert positional == FUNCTIONS[function]


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


@pytest.mark.parametrize("name", TASKS)
def test_an_answer_is_what_output_declares_and_gives_the_prediction_back(name: str) -> None:
    module = plugins.load("tasks", name)
    prediction, settings = predictions.predict(name, SAMPLE, ("a", "b"), ("ground", "a"))
    answered = json.loads(json.dumps(module.answer(SAMPLE, prediction, settings)))
    assert list(answered) == list(module.OUTPUT)
    for field, kind in module.OUTPUT.items():
        assert isinstance(answered[field], list) == kind.endswith("[]")
    rows, again = (module.rows(SAMPLE, each) for each in (prediction, module.prediction(SAMPLE, answered, settings)))
    assert list(rows) == list(again)
    assert rows["severity"] >= 0
    assert json.dumps(rows, default=str)


@pytest.mark.parametrize("name", TASKS)
def test_scores_come_from_rows_and_a_prediction_is_rendered(name: str) -> None:
    module = plugins.load("tasks", name)
    prediction, settings = predictions.predict(name, SAMPLE, ("a", "b"), ("ground", "a"))
    table = pa.Table.from_pylist([{"id": key, "group": None, **module.rows(SAMPLE, prediction)} for key in "xy"])
    scores = module.scorer(table, settings)(np.ones(2, np.int64))
    assert module.PRIMARY in {key.partition("[")[0] for key in scores}
    assert all(isinstance(value, float) for value in scores.values())
    picture = module.draw(SAMPLE, prediction, settings)
    assert (picture.dtype, picture.ndim, picture.shape[2]) == (np.uint8, 3, 3)


@pytest.mark.parametrize("name", TASKS)
def test_rows_that_see_no_image_are_those_of_a_black_one(name: str) -> None:
    """So that validation may leave images undecoded; the control is the one task that compares images."""
    module = plugins.load("tasks", name)
    prediction, _ = predictions.predict(name, SAMPLE, ("a", "b"), ("ground", "a"))
    black = dataclasses.replace(SAMPLE, image=images.blank(*SAMPLE.pixels.shape[:2]))
    rows, blind = (json.dumps(module.rows(sample, prediction), default=str) for sample in (SAMPLE, black))
    assert (rows == blind) != getattr(module, "ROWS_SEE_IMAGES", True)


@pytest.mark.parametrize("name", TASKS)
def test_scores_lie_within_their_bounds(name: str) -> None:
    module = plugins.load("tasks", name)
    prediction, settings = predictions.predict(name, SAMPLE, ("a", "b"), ("ground", "a"))
    table = pa.Table.from_pylist([{"id": key, "group": None, **module.rows(SAMPLE, prediction)} for key in "xy"])
    for metric, value in module.scorer(table, settings)(np.ones(2, np.int64)).items():
        low, high = scores.bounds(name, metric)
        assert not (low is not None and value < low), metric
        assert not (high is not None and value > high), metric


@pytest.mark.parametrize("name", TASKS)
def test_a_resample_without_any_image_of_a_kind_is_no_error(name: str) -> None:
    """Undefined is nan under a name that is there, with no warning."""
    module = plugins.load("tasks", name)
    prediction, settings = predictions.predict(name, SAMPLE, ("a", "b"), ("ground", "a"))
    rows = module.rows(SAMPLE, prediction)
    table = pa.Table.from_pylist([{"id": key, "group": None, **rows} for key in "xy"])
    score = module.scorer(table, settings)
    assert list(score(np.array([1, 0]))) == list(score(np.ones(2, np.int64)))
