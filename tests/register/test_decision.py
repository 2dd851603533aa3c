"""A champion is replaced for a reason: as good a model trained again seldom replaces it, a better one nearly always.

The images are simulated at the size of the digits' test set. Some are hard, and models fail on the same ones mostly:
that is what pairing uses.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline import store
from pipeline.learners.base import Settings
from pipeline.register import champion, ranking
from pipeline.tasks import detection
from tests.helpers.detections import SETTINGS, detections_of, sample

IMAGES, TRIALS = 343, 20
KNOWN = Settings(("a", "b"), (), (1, 1), 1, 8, (0.5,), (0.5,))
Right = NDArray[np.bool_]


def rows(right: Right) -> pa.Table:
    """Classification's rows of a model that is right where it says."""
    count = len(right)
    shares = dict.fromkeys(("confidence", "nll", "severity"), np.full(count, 0.5))
    label, names = np.zeros(count, np.int64), [str(number) for number in range(count)]
    return pa.table(
        {"id": names, "group": names, "label": label, "prediction": ~right * 1, "rank": ~right * 1, **shares}
    )


def twins(generator: np.random.Generator) -> tuple[Right, Right]:
    """Two trainings of one model: 85 % right, each failing on its own half of the hard 30 %."""
    hard = generator.random(IMAGES) < 0.3
    first, second = (~(hard & (generator.random(IMAGES) < 0.5)) for _ in range(2))
    return first, second


def five_points(generator: np.random.Generator) -> tuple[Right, Right]:
    """A model that is 85 % right and one that fails where that fails, and on a twentieth of the images more."""
    draw = generator.random(IMAGES)
    return draw < 0.85, draw < 0.80


def promotions(
    pair: Callable[[np.random.Generator], tuple[Right, Right]], judge: Callable[[Right, Right], bool]
) -> int:
    """Of 20 test sets, on how many the challenger, given first, replaces the champion."""
    return sum(judge(*pair(np.random.default_rng(seed))) for seed in range(TRIALS))


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Callable[[Right, Right], bool]:
    monkeypatch.setattr(champion, "RESAMPLES", 200)

    def promoted(challenger: Right, present: Right) -> bool:
        return bool(champion.decide(rows(challenger), rows(present), "classification", KNOWN)["promoted"])

    return promoted


def by_score(challenger: Right, present: Right) -> bool:
    """The rule of most leaderboards."""
    return bool(challenger.mean() > present.mean())


def unpaired(challenger: Right, present: Right) -> bool:
    """95 % of the difference, as if of two test sets, above nothing."""
    spread = np.sqrt((challenger.var() + present.var()) / IMAGES)
    return bool(challenger.mean() - present.mean() > 1.96 * spread)


def test_the_same_model_trained_again_replaces_the_champion_once_in_20_at_most(
    decide: Callable[[Right, Right], bool],
) -> None:
    assert promotions(twins, decide) <= 1
    assert promotions(twins, by_score) >= 5, "control: by the score alone it would"


def test_a_model_better_by_5_points_replaces_it_19_times_in_20_at_least(decide: Callable[[Right, Right], bool]) -> None:
    assert promotions(five_points, decide) >= TRIALS - 1
    assert promotions(five_points, unpaired) < TRIALS - 1, "control: without pairing it would be overlooked"
    assert promotions(lambda generator: five_points(generator)[::-1], decide) == 0, "the worse one never does"


def test_the_decision_does_not_hang_on_the_bootstraps_seed(
    decide: Callable[[Right, Right], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_every_seed(challenger: Right, present: Right) -> int:
        found = 0
        for seed in range(TRIALS):
            monkeypatch.setattr(champion, "SEED", seed)
            found += decide(challenger, present)
        return found

    generator = np.random.default_rng(1)
    assert at_every_seed(*twins(generator)) <= 1
    assert at_every_seed(*five_points(generator)) >= TRIALS - 1


def test_an_undefined_score_neither_wins_nor_loses() -> None:
    """Detections on images without a box."""
    empty = pa.Table.from_pylist(
        [{"id": name, "group": name, **detection.rows(sample([]), detections_of([]))} for name in "abc"]
    )
    decision = champion.decide(empty, empty, "detection", SETTINGS)
    assert decision["promoted"] is False
    assert "not compared" in decision["text"]
    assert "box_mAP undefined: no box in test" in decision["text"]
    assert store.canonical(decision)  # it can be stored: no nan


def test_a_candidate_without_a_score_on_val_is_not_ranked() -> None:
    def measured(value: float | None, *, higher: bool = True) -> dict[str, Any]:
        reasons = {"undefined": {"val_s": "no box in val"}} if value is None else {}
        return {"primary": "s", "val_s": value, "higher_is_better": higher, **reasons}

    assert ranking.best_on_val({"a": measured(None), "b": measured(0.1), "c": measured(0.2)}) == "c"
    assert ranking.best_on_val({"a": measured(0.3, higher=False), "b": measured(0.1, higher=False)}) == "b"
    assert ranking.best_on_val({"a": measured(0.2), "b": measured(0.2)}) == "a"
    nothing = {"a": measured(None), "b": measured(None)}
    assert ranking.best_on_val(nothing) is None
    assert "s undefined: no box in val" in ranking.unranked(nothing)["text"]
