"""A study of params.yaml is ordinary jobs, its faults lie where the file has them, and its claims are read."""

from pathlib import Path
from typing import Any

import pytest

from pipeline import studies
from pipeline.errors import UserError
from pipeline.params import Params
from tests.helpers import support

BASE = support.LINEAR
STUDY: dict[str, Any] = {
    "question": "Does more training help?",
    "paper": "nobody",
    "claims": ["long > short"],
    "base": BASE,
    "variants": {"short": {"epochs": 1}, "long": {}},
}


def read(path: Path, roster: Any = "core", **changes: Any) -> Params:
    jobs: dict[str, Any] = {"small": {}, "other": {"epochs": 3}}
    studies = {"training": {**STUDY, **changes}}
    return support.write_params(path, jobs, roster=roster, sets={"core": ["small"]}, studies=studies)


def fault(path: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as told:
        read(path, **changes)
    (line,) = str(told.value).splitlines()
    return line.removeprefix(f"{path / 'params.yaml'}: ")


def test_variants_become_jobs_of_every_seed(tmp_path: Path) -> None:
    found = read(tmp_path, seeds=[3, 5])
    made = {name: job for name, job in found.jobs.items() if found.study(name) is not None}
    assert list(made) == ["training.short.3", "training.short.5", "training.long.3", "training.long.5"]
    assert (made["training.short.5"].epochs, made["training.long.5"].epochs) == (1, 2)
    assert made["training.long.3"].seed == 3
    assert made["training.long.3"].model_dump(exclude={"seed"}) == found.jobs["small"].model_dump(exclude={"seed"})


@pytest.mark.parametrize(
    ("roster", "own", "of_study"),
    [
        ("core", ["small"], 0),
        ("all", ["small", "other"], 0),
        ("training", [], 6),
        (["training"], [], 6),
        (["core", "training"], ["small"], 6),
        (["all", "training"], ["small", "other"], 6),
        (["other"], ["other"], 0),
    ],
)
def test_only_who_asks_for_a_study_gets_it(tmp_path: Path, roster: Any, own: list[str], of_study: int) -> None:
    found = read(tmp_path, roster)
    selected = list(found.selected())
    assert selected[: len(own)] == own
    assert len(selected) == len(own) + of_study
    assert list(found.studies_of(selected)) == (["training"] if of_study else [])


def test_options_are_changed_one_by_one_unless_the_architecture_changes() -> None:
    base = {"architecture": "resnet", "options": {"depth": 20, "width": 8}, "lr": 1}
    assert studies.merged(base, {"options": {"plain": True}})["options"] == {"depth": 20, "width": 8, "plain": True}
    assert studies.merged(base, {"lr": 2}) == {**base, "lr": 2}
    assert studies.merged(base, {"architecture": "linear"}) == {"architecture": "linear", "lr": 1}
    assert studies.merged(base, {"architecture": "vgg", "options": {"config": "A"}})["options"] == {"config": "A"}
    assert base["options"] == {"depth": 20, "width": 8}


def test_a_variant_may_start_from_another_of_the_same_seed(tmp_path: Path) -> None:
    variants = {"short": {"epochs": 1}, "long": {"pretrained": {"job": "training.short"}}}
    found = read(tmp_path, variants=variants)
    assert [found.jobs[f"training.long.{seed}"].sources["pretrained"] for seed in (0, 2)] == [
        "training.short.0",
        "training.short.2",
    ]


def test_claims_are_read() -> None:
    assert studies.claim("a > b-2 >c in top1 under shifted").pairs == [("a", ">", "b-2"), ("b-2", ">", "c")]
    assert studies.claim("a > b in top1 under shifted").measure == "top1 under shifted"
    assert studies.claim("a=b") == studies.Claim(("a", "b"), ("=",), None)
    assert studies.claim("a in parameters").pairs == []


#: what is changed in the study → the one line that tells it; a fault of one variant is told once, not for each seed
FAULTS: list[tuple[dict[str, Any], str]] = [
    ({"claims": ["lng > short"]}, "studies.training.claims.0: no variant is named 'lng'; did you mean 'long'?"),
    ({"claims": ["long"]}, "studies.training.claims.0: 'long' compares nothing. Write `a > b`"),
    ({"claims": ["long >"]}, "studies.training.claims.0: 'long >' compares nothing."),
    ({"claims": []}, "studies.training.claims: List should have at least 1 item"),
    ({"claim": "a > b"}, "studies.training.claim: no setting is named 'claim'; did you mean 'claims'?"),
    ({"under": ["lite"]}, "studies.training.under: no augmentation is named 'lite'; did you mean 'light'?"),
    ({"seeds": [1, 1]}, "studies.training.seeds: each is a whole number from 0 on, and given once."),
    ({"seeds": [1]}, "studies.training.seeds: List should have at least 2 items"),
    ({"base": {**BASE, "lrr": 1.0}}, "studies.training.base.lrr: no setting is named 'lrr'; did you mean 'lr'?"),
    ({"base": {**BASE, "architecture": "liner"}}, "studies.training.base.architecture: no architecture is named"),
    ({"base": {k: v for k, v in BASE.items() if k != "task"}}, "studies.training.base.task: missing. Add it."),
    ({"variants": {"short": {"lr": -1}, "long": {}}}, "studies.training.variants.short.lr: Input should be greater"),
    ({"variants": {"short": {"dataset": "x"}, "long": {}}}, "studies.training.variants"),
    ({"variants": {"short": 3, "long": {}}}, "studies.training.variants.short: Input should be a valid dict"),
]


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_each_fault_is_reported_once_with_its_path(number: int, tmp_path: Path) -> None:
    changes, told = FAULTS[number]
    if told == "studies.training.variants":  # two things are wrong with another dataset
        with pytest.raises(UserError, match=r"variants\.short\.dataset: no dataset.*\n.*they differ in dataset"):
            read(tmp_path, **changes)
    else:
        assert fault(tmp_path, **changes).startswith(told)


def test_a_study_needs_a_name_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"studies\.small: the name means a job in a roster"):
        support.write_params(tmp_path, {"small": {}}, studies={"small": STUDY})
    with pytest.raises(UserError, match=r"studies\.core: the name means a set of jobs in a roster"):
        support.write_params(tmp_path, {"small": {}}, sets={"core": ["small"]}, studies={"core": STUDY})
    with pytest.raises(UserError, match=r"studies\.a\.b: names become folders"):
        support.write_params(tmp_path, {"small": {}}, studies={"a.b": STUDY})
    with pytest.raises(UserError, match=r"roster: .* is named 'trainin'; did you mean 'training'"):
        read(tmp_path, ["trainin"])
