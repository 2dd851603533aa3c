"""The bootstrap keeps its promises: coverage, groups drawn together, few false winners, no better model missed."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from pipeline.bootstrap import Counts, Scorer, intervals, over_seeds, paired, resample, resample_scores


def mean(values: NDArray[np.float64]) -> Scorer:
    """A scorer like a task's: sums over rows and one formula."""

    def score(counts: Counts) -> dict[str, float]:
        return {"mean": float((counts * values).sum() / counts.sum())}

    return score


def singly(number: int) -> list[str]:
    return [str(row) for row in range(number)]


def test_counts_are_resamples_with_replacement_and_repeat_by_seed() -> None:
    drawn = list(resample(singly(50), 200, 3))
    assert all(draw.sum() == 50 and draw.min() >= 0 and draw.dtype == np.int64 for draw in drawn)
    np.testing.assert_array_equal(drawn, list(resample(singly(50), 200, 3)))
    assert not np.array_equal(drawn[0], drawn[1])
    assert not np.array_equal(drawn[0], next(resample(singly(50), 1, 4)))
    np.testing.assert_allclose(np.mean(drawn, axis=0), 1, atol=0.35)
    assert np.mean(np.array(drawn) == 0) == pytest.approx(np.exp(-1), abs=0.02)


def test_rows_of_a_group_are_drawn_together() -> None:
    groups = ["b", "a", "b", "c", "a", "b"]
    sizes = {"a": 2, "b": 3, "c": 1}
    for draw in resample(groups, 100, 0):
        drawn = {
            name: {int(count) for count, group in zip(draw, groups, strict=True) if group == name} for name in sizes
        }
        assert all(len(counts) == 1 for counts in drawn.values())
        assert sum(counts.copy().pop() for counts in drawn.values()) == 3
        assert draw.sum() == sum(sizes[name] * counts.pop() for name, counts in drawn.items())


def test_a_group_of_copies_gives_no_confidence() -> None:
    """The same 40 rows ten times over are still 40 observations."""
    values = np.random.default_rng(0).random(40)
    rows, groups = np.repeat(values, 10), np.repeat(singly(40), 10).tolist()
    once = np.subtract(*intervals(resample_scores(mean(values), singly(40), number=400, seed=0))["mean"])
    grouped = np.subtract(*intervals(resample_scores(mean(rows), groups, number=400, seed=0))["mean"])
    ungrouped = np.subtract(*intervals(resample_scores(mean(rows), singly(400), number=400, seed=0))["mean"])
    assert grouped == pytest.approx(once, rel=0.15)
    assert ungrouped == pytest.approx(once / np.sqrt(10), rel=0.2)


def test_intervals_cover_the_truth_in_19_of_20() -> None:
    truth, generator = 0.8, np.random.default_rng(1)
    covered = 0
    for seed in range(300):
        hits = (generator.random(200) < truth).astype(np.float64)
        low, high = intervals(resample_scores(mean(hits), singly(200), number=300, seed=seed))["mean"]
        assert low <= hits.mean() <= high
        covered += low <= truth <= high
    assert 0.915 <= covered / 300 <= 0.985


def test_intervals_match_the_normal_ones_of_a_large_sample() -> None:
    values = np.random.default_rng(2).normal(5, 2, 2000)
    low, high = intervals(resample_scores(mean(values), singly(2000), number=2000, seed=0))["mean"]
    half = 1.96 * values.std() / np.sqrt(2000)
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_undefined_resamples_are_left_out_and_never_defined_scores_have_none() -> None:
    def score(counts: Counts) -> dict[str, float]:
        return {"rare": 1.0 if counts[0] else float("nan"), "never": float("nan"), "sound": float(counts[0])}

    found = intervals(resample_scores(score, singly(20), number=200, seed=0))
    assert found["rare"] == (1.0, 1.0)
    assert "never" not in found
    assert found["sound"][0] == 0.0


def wins(make: Callable[[np.random.Generator], tuple[Scorer, Scorer]], rows: int, times: int) -> tuple[int, int]:
    """How often the first of two models is found better, and how often worse."""
    better = worse = 0
    for seed in range(times):
        first, second = make(np.random.default_rng(seed))
        found = paired(first, second, singly(rows), "mean", number=400, seed=seed)
        assert found["low"] <= found["difference"] <= found["high"]
        better, worse = better + (found["low"] > 0), worse + (found["high"] < 0)
    return better, worse


def test_equal_models_seldom_differ() -> None:
    def equal(generator: np.random.Generator) -> tuple[Scorer, Scorer]:
        hard = generator.random(400)
        return tuple(mean((hard + generator.normal(0, 0.2, 400) < 0.9).astype(float)) for _ in range(2))  # type: ignore[return-value]

    better, worse = wins(equal, 400, 300)
    assert better <= 15
    assert worse <= 15
    assert 3 <= better + worse <= 26  # about 15: not blind either


def test_a_model_that_is_five_points_better_is_found() -> None:
    """Most errors are common to both, as they are on real test sets; unpaired, the same difference would drown."""

    def five_points(generator: np.random.Generator) -> tuple[Scorer, Scorer]:
        draw = generator.random(400)
        champion, challenger = (draw < 0.85).astype(float), (draw < 0.90).astype(float)
        flipped = generator.random(400) < 0.01
        return mean(np.where(flipped, 1 - challenger, challenger)), mean(champion)

    better, worse = wins(five_points, 400, 40)
    assert better >= 36
    assert worse == 0


def test_a_model_against_itself_differs_by_nothing() -> None:
    model = mean(np.random.default_rng(0).random(30))
    assert paired(model, model, singly(30), "mean", number=100, seed=0) == {"difference": 0, "low": 0, "high": 0}


def test_swapping_the_models_turns_the_sign() -> None:
    generator = np.random.default_rng(0)
    first, second = mean(generator.random(50)), mean(generator.random(50))
    one, two = (paired(*pair, singly(50), "mean", number=300, seed=5) for pair in ((first, second), (second, first)))
    assert (one["difference"], one["low"], one["high"]) == pytest.approx(
        (-two["difference"], -two["high"], -two["low"])
    )


def test_resamples_without_a_difference_are_left_out() -> None:
    def sometimes(counts: Counts) -> dict[str, float]:
        return {"mean": 0.5 if counts[0] else float("nan")}

    found = paired(sometimes, mean(np.zeros(20)), singly(20), "mean", number=200, seed=0)
    assert found == {"difference": 0.5, "low": 0.5, "high": 0.5}


def test_without_noise_of_training_the_interval_is_the_bootstraps_and_without_images_students() -> None:
    values, drawn = np.array([0.90, 0.93, 0.96]), np.tile([[0.90], [0.93], [0.96]], 500)
    found = over_seeds(values, drawn)
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert found.value == pytest.approx(0.93)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03 * (high - low))
    alike = np.random.default_rng(0).normal(0.9, 0.01, 1000)
    found = over_seeds(np.full(3, 0.9), np.tile(alike, (3, 1)))
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(alike, [2.5, 97.5])))


def test_the_interval_over_seeds_covers_the_truth_where_that_of_the_images_alone_does_not() -> None:
    """Trainings whose quality varies, on test images that vary too, image by image the same for all of them."""
    generator, truth, images = np.random.default_rng(5), 0.1, 150
    covered, by_images = 0, 0
    for seed in range(250):
        hard = generator.normal(0, 0.5, images)
        trainings = [hard + generator.normal(truth, 0.07) for _ in range(3)]
        drawn = np.array(
            [resample_scores(mean(rows), singly(images), number=150, seed=seed)["mean"] for rows in trainings]
        )
        found = over_seeds(np.array([rows.mean() for rows in trainings]), drawn, seed=seed)
        covered += found.low <= truth <= found.high
        low, high = np.percentile(drawn.mean(axis=0), [2.5, 97.5])
        by_images += low <= truth <= high
    assert 0.92 <= covered / 250 <= 1
    assert by_images / 250 < 0.9


def test_an_interval_over_seeds_stays_within_the_bounds_of_the_score() -> None:
    values = np.array([0.93, 0.99, 1.0])
    drawn = np.tile(values[:, None], 500)
    assert over_seeds(values, drawn).high > 1, "control: Student's t knows no bounds"
    bounded = over_seeds(values, drawn, (0, 1))
    assert (bounded.low, bounded.high) == (over_seeds(values, drawn).low, 1)
    assert over_seeds(values, drawn, (None, None)) == over_seeds(values, drawn)
