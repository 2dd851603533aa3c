"""The schema is that of the model, and the shipped files satisfy it; DVC's writer leaves these files as they are."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from dvc.utils.serialize._yaml import dumps_yaml, parse_yaml_for_update

from pipeline import params_schema, safe_yaml

ROOT = Path(__file__).parents[1]
SHIPPED = [ROOT / "params.yaml", *sorted((ROOT / "params").glob("*.yaml"))]
shipped = pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)


def check(value: Any) -> None:
    jsonschema.validate(value, params_schema.schema())


def test_the_file_is_that_of_the_code() -> None:
    assert (ROOT / params_schema.FILE).read_text(encoding="utf-8") == params_schema.text(), "python -m docs.generate"


@shipped
def test_shipped_files_satisfy_it(path: Path) -> None:
    check(safe_yaml.load(path.read_text(encoding="utf-8")))


@shipped
def test_the_first_line_names_it(path: Path) -> None:
    first = path.read_text(encoding="utf-8").partition("\n")[0]
    assert (path.parent / first.partition("$schema=")[2]).resolve() == ROOT / params_schema.FILE


@shipped
def test_dvc_writes_the_same_bytes(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert dumps_yaml(parse_yaml_for_update(text, str(path))) == text


JOB = {"task": "classification", "architecture": "linear", "dataset": "digits"}


@pytest.mark.parametrize(
    "value",
    [
        {"job": {}},
        {"kept": []},
        {"jobs": {"a": {**JOB, "core": True}}},
        {"jobs": {"a": {**JOB, "epochs": "many"}}},
        {"jobs": {"a": {"task": "classification"}}},
        {"train": {"lanes": 2}},
        {"studies": {"s": {"question": "", "paper": "", "claims": ["a > b"], "base": {"rate": 1}, "variants": {}}}},
    ],
)
def test_a_wrong_key_or_value_does_not(value: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(value)


@pytest.mark.parametrize(
    "value",
    [
        {"jobs": {"a": JOB, "b": {"like": "a", "lr": 1}}},
        {"jobs": {"a": {**JOB, "architecture": "my_own"}}},
        {"studies": None},
    ],
)
def test_what_can_be_written_does(value: dict[str, Any]) -> None:
    check(value)
