"""Many images at once are answered as each alone, in order, in batches of bounded size; for every task."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from numpy.typing import NDArray
from PIL import Image

from convline import predicting
from pipeline import images, plugins
from pipeline.evaluate import predict
from pipeline.register.predictor import Predictor
from tests.helpers import predictions

TASKS = plugins.names("tasks")
#: of different aspects and sizes
SHAPES = [(90, 67), (40, 40), (33, 120), (64, 48), (200, 180)]


def pictures() -> list[NDArray[np.uint8]]:
    """Each brighter than the one before, so that their answers differ."""
    generator = np.random.default_rng(3)
    return [generator.integers(0, 16 + 48 * number, (*shape, 3), np.uint8) for number, shape in enumerate(SHAPES)]


def encoded(pixels: NDArray[np.uint8]) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "PNG")
    return data.getvalue()


@pytest.fixture(params=TASKS)
def task(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def served(task: str, tmp_path: Path) -> Predictor:
    predictor = Predictor()
    folder = predictions.store_model(tmp_path / "models/m", task)
    predictor.load_context(SimpleNamespace(artifacts={"model": str(folder)}))
    return predictor


@pytest.fixture
def sizes(served: Predictor, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the batches that the network sees, at most 2."""
    seen: list[int] = []
    learner = served.predictor.learner
    real = learner.predict_batch

    def noted(batch: Any, targets: Any) -> Any:
        seen.append(len(batch))
        return real(batch, targets)

    monkeypatch.setattr(learner, "predict_batch", noted)
    monkeypatch.setattr(predict, "BATCH", 2)
    return seen


def answers(served: Predictor, rows: list[Any]) -> list[dict[str, Any]]:
    return list(served.predict(None, pd.DataFrame({"image": rows})).to_dict("records"))


def assert_alike(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Scores within 1e-5, classes exactly; of pictures, pixels by one gray level."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if name == "image" and len(value) > 100:
            pair = [images.decode(base64.b64decode(item)).astype(int) for item in (found[name], value)]
            assert np.abs(pair[0] - pair[1]).max() <= 1
        elif name == "maps":
            first, second = (np.load(io.BytesIO(base64.b64decode(item))) for item in (found[name], value))
            np.testing.assert_allclose(first, second, atol=1e-5)
        elif isinstance(value, list) and value and isinstance(value[0], float):
            np.testing.assert_allclose(found[name], value, atol=1e-5, rtol=1e-5)
        else:
            assert found[name] == value


def test_a_request_of_many_images_is_answered_as_each_alone(served: Predictor, task: str, sizes: list[int]) -> None:
    rows = [encoded(pixels) for pixels in pictures()]
    alone = [answers(served, [row])[0] for row in rows]
    assert sizes == [1] * 5
    sizes.clear()
    together = answers(served, rows)
    assert sizes == [2, 2, 1]
    for found, expected in zip(together, alone, strict=True):
        assert_alike(found, expected)
    if task != "classification":  # where an untrained network says nearly the same of all
        with pytest.raises(AssertionError):  # the control
            assert_alike(together[0], alone[4])


@pytest.mark.parametrize("task", ["classification"], indirect=True)
def test_a_bad_row_is_named_before_any_image_is_predicted(served: Predictor, sizes: list[int]) -> None:
    rows = [*map(encoded, pictures()), b"no image"]
    with pytest.raises(MlflowException, match="row 5"):
        answers(served, rows)
    assert sizes == []


@pytest.mark.parametrize("task", ["classification"], indirect=True)
def test_images_that_do_not_fit_in_memory_are_decoded_again(
    served: Predictor, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, decoded = [encoded(pixels) for pixels in pictures()], list[int]()
    decode = images.decode

    def noted(data: Any, *settings: Any) -> Any:
        decoded.append(len(data))
        return decode(data, *settings)

    monkeypatch.setattr(images, "decode", noted)
    expected = answers(served, rows)
    assert len(decoded) == 5
    sizes.clear()
    monkeypatch.setattr(predict, "BATCH_PIXELS", 5000)
    found = answers(served, rows)
    assert len(decoded) == 5 + 2 * 5
    assert sizes == [1, 2, 2]
    for one, other in zip(found, expected, strict=True):
        assert_alike(one, other)


def test_predict_answers_as_the_served_model(
    served: Predictor, task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Files in batches, an unreadable one among them, which stays where it is in the order."""
    rows = [encoded(pixels) for pixels in pictures()]
    (tmp_path / "in").mkdir()
    for number, row in enumerate(rows):
        (tmp_path / f"in/{number}.png").write_bytes(row)
    (tmp_path / "in/2b.png").write_bytes(b"no image")
    capsys.readouterr()
    assert not predicting.predict(tmp_path, "m", [tmp_path / "in"])
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    if task != "generation":
        assert [line.pop("image") for line in lines] == ["0.png", "1.png", "2.png", "2b.png", "3.png", "4.png"]
    assert "error" in lines.pop(3)
    for found, row in zip(lines, rows, strict=True):
        assert_alike(found, json.loads(json.dumps(answers(served, [row])[0])))


def test_no_more_is_read_than_a_batch_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that predict never holds a folder's images."""
    monkeypatch.setattr(predict, "BATCH", 4)
    monkeypatch.setattr(predict, "BATCH_PIXELS", 100)
    read: list[int] = []

    def items() -> Iterator[int]:
        for pixels in (10, 10, 10, 10, 60, 60, 500, 10):
            read.append(pixels)
            yield pixels

    batches = predict.in_batches(items(), lambda pixels: pixels)
    assert next(batches) == [10, 10, 10, 10]
    assert len(read) == 4
    assert [*batches] == [[60, 60], [500], [10]]
