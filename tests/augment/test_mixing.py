"""What superimposes two samples: labels are shares, objects bring their annotations, the rest is refused by name."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from pipeline import plugins
from pipeline.augment.policy import Policy
from pipeline.errors import UserError
from pipeline.geometry import rle
from pipeline.sample import Sample
from tests.helpers.marks import NUMBER, SIDE, bright, marked


def plain(value: int, label: Any, side: int = SIDE) -> Sample:
    return Sample(f"v{value}", np.full((side, side, 3), value, np.uint8), label=label)


def policy(*entries: dict[str, dict[str, Any]]) -> Policy:
    return Policy(entries, classes=4)


def soft(sample: Sample) -> np.ndarray[Any, Any]:
    assert isinstance(sample.label, np.ndarray)
    return sample.label


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_labels_are_the_shares_of_what_is_seen(name: str) -> None:
    change, shares = policy({name: {"alpha": 1.0, "p": 1.0}}), []
    for seed in range(60):
        result = change(plain(0, 1), seed, lambda _: plain(200, 3))
        label = soft(result)
        assert label.dtype == np.float32
        assert label.shape == (4,)
        assert label.sum() == pytest.approx(1, abs=1e-6)
        assert label[[0, 2]].tolist() == [0, 0]
        assert result.pixels.mean() / 200 == pytest.approx(label[3], abs=0.004)
        if name == "cutmix":
            assert set(np.unique(result.pixels)) <= {0, 200}
            assert (result.pixels == 200).mean() == pytest.approx(label[3], abs=1e-6)
        shares.append(float(label[3]))
    assert min(shares) < 0.1
    assert max(shares) > 0.7
    if name == "mixup":  # Beta(1, 1) is uniform; cutmix's rectangles end at the border
        assert np.mean(shares) == pytest.approx(0.5, abs=0.12)


def test_a_small_alpha_keeps_mixup_near_to_one_of_the_two() -> None:
    change = policy({"mixup": {"alpha": 0.1}})
    shares = [soft(change(plain(0, 1), seed, lambda _: plain(200, 3)))[3] for seed in range(60)]
    assert np.mean([min(share, 1 - share) < 0.1 for share in shares]) > 0.6


def test_mixed_labels_can_be_mixed_again() -> None:
    change = policy({"mixup": {"alpha": 1.0}}, {"cutmix": {"p": 1.0}})
    values = {7: plain(200, 3), 8: plain(100, np.array([0.5, 0.5, 0, 0], np.float32))}
    for seed in range(20):
        label = soft(change(plain(0, 1), seed, lambda number: values[7 + number % 2]))
        assert label.sum() == pytest.approx(1, abs=1e-5)
        assert label.min() >= 0


def test_the_second_sample_has_the_size_of_the_first_and_went_through_what_came_before() -> None:
    change, seen = policy({"shift": {"limit": 0.4}}, {"mixup": {"alpha": 50.0}}), set()
    for seed in range(10):
        result = change(plain(0, 1), seed, lambda _: plain(200, 3, side=30)).pixels
        assert result.shape == (SIDE, SIDE, 3)
        assert (result == 0).any()  # what was shifted in is black
        seen.add(result.tobytes())
    assert len(seen) == 10


def test_the_seed_alone_chooses_the_second_sample() -> None:
    change, asked = policy({"noise": {"p": 1.0}}, {"cutmix": {"p": 0.5}}), []
    for _ in range(2):
        numbers: list[tuple[int, int]] = []
        for seed in range(40):

            def other(number: int, seed: int = seed, into: list[tuple[int, int]] = numbers) -> Sample:
                into.append((seed, number))
                return plain(200, 3)

            change(plain(0, 1), seed, other)
        asked.append(numbers)
    assert asked[0] == asked[1]
    assert 10 < len(asked[0]) < 30
    assert len({number for _, number in asked[0]}) == len(asked[0])


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_what_has_no_mean_is_refused_by_name(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} .*marked has none"):
        policy({name: {"p": 1.0}})(marked(), 0, lambda _: marked())
    both = dataclasses.replace(marked(with_masks=True), label=1)
    result = policy({name: {"p": 1.0}})(both, 0, lambda _: both)
    assert (result.boxes, result.labels, result.masks, result.semantic, result.weight) == (None,) * 5


def test_without_a_second_sample_it_is_said() -> None:
    with pytest.raises(ValueError, match="other"):
        policy({"mixup": {}})(plain(0, 1), 0)


def test_overlay_on_a_labelled_image_is_faint_and_keeps_the_label() -> None:
    change = policy({"overlay": {"opacity": 0.3, "p": 1.0}})
    values = []
    for seed in range(40):
        result = change(plain(0, 1), seed, lambda _: plain(200, 3))
        assert result.label == 1
        values.append(int(result.pixels.max()))
    assert min(values) < 10
    assert 50 < max(values) <= 60


@pytest.mark.parametrize("with_masks", [False, True])
def test_overlay_pastes_objects_with_their_annotations(with_masks: bool) -> None:
    first = marked((4, 4, 20, 20), with_masks=with_masks)
    second = dataclasses.replace(marked((14, 4, 30, 20), with_masks=with_masks), labels=np.array([2]))
    second = dataclasses.replace(second, image=second.pixels // 2 + 120, crowd=np.array([False]))
    result = policy({"overlay": {"fraction": 1.0, "p": 1.0}})(first, 0, lambda _: second)
    assert result.boxes is not None
    assert result.boxes.tolist() == [[4, 4, 14, 20], [14, 4, 30, 20]]
    assert result.labels is not None
    assert result.labels.tolist() == [NUMBER, 2]
    assert result.crowd is not None
    assert result.crowd.tolist() == [True, False]
    np.testing.assert_array_equal(result.pixels[4:20, 14:30], second.pixels[4:20, 14:30])
    np.testing.assert_array_equal(result.pixels[:, 30:], first.pixels[:, 30:])
    np.testing.assert_array_equal(result.semantic == NUMBER, bright(result))
    if with_masks:
        assert result.masks is not None
        below, above = (rle.decode(mask, SIDE, SIDE) for mask in result.masks)
        assert not (below & above).any()
        assert (below.sum(), above.sum()) == (16 * 10, 16 * 16)
    else:
        assert result.masks is None


def test_what_an_overlay_covers_is_no_longer_annotated() -> None:
    hidden, large = marked((10, 10, 16, 16), with_masks=True), marked((4, 4, 30, 30), with_masks=True)
    result = policy({"overlay": {"fraction": 1.0, "p": 1.0}})(hidden, 0, lambda _: large)
    assert result.boxes is not None
    assert result.boxes.tolist() == [[4, 4, 30, 30]]
    assert result.crowd is not None
    assert len(result.crowd) == len(result.masks or ()) == 1


def test_overlay_with_a_label_map_alone_pastes_whole_ids() -> None:
    def maps(name: str, number: int) -> Sample:
        ids = np.repeat(np.array([[0, number]], np.uint8), SIDE // 2, axis=1).repeat(SIDE, axis=0)
        return Sample(name, np.full((SIDE, SIDE, 3), 10 * number, np.uint8), semantic=ids)

    change, pasted = policy({"overlay": {"p": 1.0}}), set()
    for seed in range(20):
        result = change(maps("a", 1), seed, lambda _: maps("b", 2))
        assert result.semantic is not None
        assert result.boxes is None
        assert not ((result.pixels[..., 0] == 10) & (result.semantic == 2)).any()
        pasted.add((result.pixels == 20).mean())
    assert pasted == {0.0, 0.5, 1.0}


@pytest.mark.parametrize("name", plugins.names("augment.transforms"))
def test_tasks_that_a_transform_names_exist(name: str) -> None:
    assert set(plugins.constant("augment.transforms", name, "TASKS") or ()) <= set(plugins.names("tasks"))
