"""Scores against brute force, torchmetrics and scikit-learn, losses against hand-worked ones, and all other parts."""

import base64
import dataclasses
import io
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix, jaccard_score
from torch import nn
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

from pipeline import images
from pipeline.errors import UserError
from pipeline.learners.base import Settings
from pipeline.learners.segmenter import LabelMap
from pipeline.metrics import miou
from pipeline.metrics.boundary_f1 import boundary_f1
from pipeline.models import unet
from pipeline.models.parts.spec import Spec
from pipeline.plots.figures import palette
from pipeline.sample import IGNORE, Sample
from pipeline.tasks import segmentation

NAMES = ("background", "cat", "dog", "owl", "emu", "yak")
SETTINGS = Settings((), NAMES, (), 3, 8, (0.5,) * 3, (0.25,) * 3)
Ids = NDArray[np.uint8]


def with_classes(number: int) -> Settings:
    return dataclasses.replace(SETTINGS, semantic_classes=NAMES[:number])


def case(number: int = 7, seed: int = 0) -> tuple[list[Ids], list[Ids]]:
    """Half-right maps; truths of several sizes, with void, without emu, which is predicted, and yak, which is not."""
    generator = np.random.default_rng(seed)
    truths, guesses = [], []
    for _ in range(number):
        shape = tuple(generator.integers(5, 12, 2))
        truth = generator.choice([0, 0, 0, 1, 2, 3, IGNORE], shape).astype(np.uint8)
        guess = np.where(generator.random(shape) < generator.random(), truth % 5, generator.integers(0, 5, shape))
        truths.append(truth)
        guesses.append(guess.astype(np.uint8))
    return truths, guesses


def sample(truth: Ids | None, shape: tuple[int, int] | None = None, seed: int = 0) -> Sample:
    pixels = np.random.default_rng(seed).integers(0, 256, (*(shape or truth.shape), 3))  # type: ignore[union-attr]
    return Sample("x", pixels.astype(np.uint8), semantic=truth)


def table(truths: list[Ids], guesses: list[Ids], classes: int = 6) -> pa.Table:
    maps = [LabelMap(guess, classes) for guess in guesses]
    return pa.Table.from_pylist(
        [segmentation.rows(sample(truth), item) for truth, item in zip(truths, maps, strict=True)]
    )


def score(truths: list[Ids], guesses: list[Ids], classes: int = 6) -> dict[str, float]:
    rows = table(truths, guesses, classes)
    return segmentation.scorer(rows, with_classes(classes))(np.ones(len(rows), np.int64))


def flat(truths: list[Ids], guesses: list[Ids]) -> tuple[Ids, Ids]:
    """All pixels that are not void."""
    truth, guess = (np.concatenate([item.ravel() for item in items]) for items in (truths, guesses))
    return truth[truth != IGNORE], guess[truth != IGNORE]


def test_confusion_is_that_of_scikit_learn() -> None:
    truths, guesses = case()
    for truth, guess in zip(truths, guesses, strict=True):
        right, predicted = flat([truth], [guess])
        expected = confusion_matrix(right, predicted, labels=range(6))
        np.testing.assert_array_equal(miou.confusion(truth, guess, 6), expected)


def test_confusion_of_the_most_classes_that_bytes_can_number() -> None:
    truth = np.array([[0, 254, 254, IGNORE]], np.uint8)
    counts = miou.confusion(truth, np.array([[254, 254, 0, 254]], np.uint8), 255)
    assert counts.shape == (255, 255)
    assert {(int(row), int(column)): int(counts[row, column]) for row, column in np.argwhere(counts)} == {
        (0, 254): 1,
        (254, 254): 1,
        (254, 0): 1,
    }


def test_iou_by_brute_force_over_sets_of_pixels() -> None:
    truths, guesses = case()
    scores = score(truths, guesses)
    defined = []
    for number, name in enumerate(NAMES):
        there, said = set(), set()
        for index, (truth, guess) in enumerate(zip(truths, guesses, strict=True)):
            for (row, column), value in np.ndenumerate(truth):
                if value == IGNORE:
                    continue
                there |= {(index, row, column)} if value == number else set()
                said |= {(index, row, column)} if guess[row, column] == number else set()
        if there | said:
            defined.append(len(there & said) / len(there | said))
            assert scores[f"IoU[{name}]"] == pytest.approx(defined[-1])
        else:
            assert np.isnan(scores[f"IoU[{name}]"])
    assert len(defined) == 5
    assert defined[-1] == 0  # emu is predicted and never there: it counts, as nothing
    assert scores["mIoU"] == pytest.approx(np.mean(defined))


def test_scores_are_those_of_scikit_learn() -> None:
    truths, guesses = case()
    scores = score(truths, guesses)
    right, predicted = flat(truths, guesses)
    assert scores["mIoU"] == pytest.approx(jaccard_score(right, predicted, average="macro"))
    assert scores["fw_IoU"] == pytest.approx(jaccard_score(right, predicted, average="weighted"))
    assert scores["pixel_acc"] == pytest.approx(accuracy_score(right, predicted))
    with pytest.warns(UserWarning, match="not in y_true"):
        assert scores["mean_acc"] == pytest.approx(balanced_accuracy_score(right, predicted))


def test_miou_is_torchmetrics_jaccard_index_and_not_its_mean_iou() -> None:
    truths, guesses = case()
    jaccard = MulticlassJaccardIndex(num_classes=6, ignore_index=IGNORE)
    by_image = MeanIoU(num_classes=6, input_format="index")
    for truth, guess in zip(truths, guesses, strict=True):
        jaccard.update(torch.from_numpy(guess).long()[None], torch.from_numpy(truth).long()[None])
        right, predicted = flat([truth], [guess])
        by_image.update(torch.from_numpy(predicted).long()[None], torch.from_numpy(right).long()[None])
    ours = score(truths, guesses)["mIoU"]
    assert ours == pytest.approx(float(jaccard.compute()), rel=1e-6)
    assert abs(ours - float(by_image.compute())) > 0.01


def test_counts_are_repeated_rows() -> None:
    truths, guesses = case(20)
    rows = table(truths, guesses)
    counts = np.random.default_rng(1).integers(0, 4, 20)
    weighted = segmentation.scorer(rows, SETTINGS)(counts)
    repeated = rows.take(np.repeat(np.arange(20), counts))
    once = np.ones(len(repeated), np.int64)
    assert weighted == pytest.approx(segmentation.scorer(repeated, SETTINGS)(once), nan_ok=True)
    chunks = pa.concat_tables([rows.slice(0, 9), rows.slice(9)])  # a table in parts has no other scores
    assert weighted == pytest.approx(segmentation.scorer(chunks, SETTINGS)(counts), nan_ok=True)


def test_a_set_that_is_all_void_has_no_score_and_no_warning() -> None:
    scores = score([np.full((3, 4), IGNORE, np.uint8)], [np.zeros((3, 4), np.uint8)])
    assert all(np.isnan(value) for value in scores.values())


def boundary_by_brute_force(truth: Ids, guess: Ids, number: int) -> float:
    """Every border pixel of a class against every other; nan where there is none."""

    def border(ids: Ids) -> list[tuple[int, int]]:
        edges = []
        for (row, column), value in np.ndenumerate(ids):
            for y, x in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
                inside = 0 <= y < ids.shape[0] and 0 <= x < ids.shape[1]
                if (
                    value == number
                    and inside
                    and ids[y, x] != number
                    and IGNORE not in (truth[y, x], truth[row, column])
                ):
                    edges.append((row, column))
                    break
        return edges

    def near(some: list[tuple[int, int]], others: list[tuple[int, int]]) -> float:
        reach = 0.0075 * np.hypot(*truth.shape)
        return float(np.mean([any(np.hypot(a - c, b - d) <= reach for c, d in others) for a, b in some]))

    right, said = border(truth), border(guess)
    if not right and not said:
        return float("nan")
    if not right or not said:
        return 0.0
    precision, recall = near(said, right), near(right, said)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def shapes(seed: int, height: int, width: int) -> tuple[Ids, Ids]:
    """A map of rectangles with void, and one in which each lies a little beside."""
    random = np.random.default_rng(seed)
    truth, guess = np.zeros((height, width), np.uint8), np.zeros((height, width), np.uint8)
    for value in (1, 2, 3, 1):
        top, left, high, wide = random.integers((0, 0, 5, 5), (height - 8, width - 8, 20, 20))
        truth[top : top + high, left : left + wide] = value
        down, right = random.integers(0, 4, 2)
        guess[top + down : top + high + down, left + right : left + wide] = value
    guess[:4, :4] = 4  # not there
    truth[-3:, : width // 2] = IGNORE
    return truth, guess


@pytest.mark.parametrize(("height", "width"), [(40, 50), (150, 120)])
def test_boundary_f1_by_brute_force(height: int, width: int) -> None:
    """A border at most 0.48 px, or 1.44 px, away is met: the pixel itself, or also one beside or across a corner."""
    pairs = [shapes(seed, height, width) for seed in range(4)]
    truths, guesses = [truth for truth, _ in pairs], [guess for _, guess in pairs]
    expected = np.array([[boundary_by_brute_force(*pair, number) for number in range(6)] for pair in pairs])
    ours = [boundary_f1(*pair, 6) for pair in pairs]
    np.testing.assert_allclose(ours, expected)
    assert 0.05 < np.nanmean(expected) < 0.95
    scores = score(truths, guesses)
    for number, name in enumerate(NAMES):
        finite = expected[:, number][np.isfinite(expected[:, number])]
        assert scores[f"BF1[{name}]"] == pytest.approx(finite.mean() if len(finite) else np.nan, nan_ok=True)
    assert scores["BF1"] == pytest.approx(np.nanmean(expected, axis=1).mean())
    assert scores["BF1[emu]"] == 0
    assert np.isnan(scores["BF1[yak]"])


def test_boundary_f1_sees_what_iou_hardly_does() -> None:
    """A border one pixel off costs a large object little IoU but, beyond the tolerance, its whole border."""
    truth, near, far = (np.zeros((200, 200), np.uint8) for _ in range(3))
    truth[:, 100:] = near[:, 101:] = far[:, 104:] = 1
    assert boundary_f1(truth, truth, 2).tolist() == boundary_f1(truth, near, 2).tolist() == [1, 1]
    assert boundary_f1(truth, far, 2).tolist() == [0, 0]
    assert score([truth], [far], 2)["mIoU"] > 0.95


def test_a_row() -> None:
    truth = np.array([[0, 0, 1, 1], [0, 0, IGNORE, 1]], np.uint8)
    row = segmentation.rows(sample(truth), LabelMap(np.array([[0, 1]], np.uint8), 3))  # enlarged to 0 0 1 1
    assert row == {"confusion": [4, 0, 0, 0, 3, 0, 0, 0, 0], "boundary": [1.0, 1.0, None], "severity": 0.0}
    row = segmentation.rows(sample(truth), LabelMap(np.zeros((2, 4), np.uint8), 3))
    assert row["confusion"] == [4, 0, 0, 3, 0, 0, 0, 0, 0]
    assert (row["boundary"], row["severity"]) == ([0, 0, None], pytest.approx(1 - (4 / 7 + 0) / 2))
    assert json.loads(json.dumps(row)) == row
    void = segmentation.rows(sample(np.full((2, 2), IGNORE, np.uint8)), LabelMap(np.zeros((2, 2), np.uint8), 3))
    assert void == {"confusion": [0] * 9, "boundary": [None] * 3, "severity": 0.0}


def test_collate_stacks_images_and_ids() -> None:
    truth = np.array([[0, 3], [IGNORE, 1]], np.uint8)
    stacked, targets = segmentation.collate([sample(truth), sample(None, (2, 2))], SETTINGS)
    assert (stacked.shape, stacked.dtype) == ((2, 3, 2, 2), torch.uint8)
    assert targets.dtype == torch.int64
    assert targets.tolist() == [truth.tolist(), [[IGNORE] * 2] * 2]
    weighed = dataclasses.replace(sample(truth), weight=np.array([[0, 9], [0.5, 1]], np.float32))
    _, (ids, weights) = segmentation.collate([weighed], SETTINGS)
    assert (ids.tolist(), weights.tolist()) == ([truth.tolist()], [[[0, 9], [0.5, 1]]])


LOGITS = torch.tensor([[[2.0, 0.0, 1.0]], [[0.0, 1.0, 1.0]], [[-1.0, 0.5, 0.0]]])[None]  # 1×3×1×3
TRUTH = torch.tensor([[[0, 2, IGNORE]]])


def losses(logits: torch.Tensor = LOGITS, truth: Any = TRUTH, **options: Any) -> dict[str, torch.Tensor]:
    return segmentation.learner(nn.Identity(), with_classes(3), **options).losses(logits, truth, "train")


def probabilities() -> NDArray[np.float64]:
    """Probabilities 3 classes × 3 pixels."""
    exponents = np.exp(LOGITS[0, :, 0].numpy().astype(np.float64))
    return exponents / exponents.sum(axis=0)


def test_losses_by_hand() -> None:
    p = probabilities()
    nats = -np.log([p[0, 0], p[2, 1]])
    assert {name: float(loss) for name, loss in losses().items()} == {"cross_entropy": pytest.approx(nats.sum() / 3)}
    weighted = losses(class_weights={"dog": 3.0, "background": 0.5})["cross_entropy"]
    assert float(weighted) == pytest.approx((0.5 * nats[0] + 3 * nats[1]) / 3)
    border = torch.tensor([[[0.25, 4.0, 100.0]]])  # the last is void
    weighted = losses(truth=(TRUTH, border), border_weights=True, class_weights={"dog": 3.0})["cross_entropy"]
    assert float(weighted) == pytest.approx((1.25 * nats[0] + 7 * nats[1]) / 3)
    focal = losses(focal=2.0)
    assert list(focal) == ["focal"]
    assert float(focal["focal"]) == pytest.approx((nats * (1 - np.exp(-nats)) ** 2).sum() / 3)
    both = losses(dice=0.5)
    by_class = [(2 * p[0, 0] + 1) / (p[0, :2].sum() + 2), (2 * p[2, 1] + 1) / (p[2, :2].sum() + 2)]
    assert float(both["dice"]) == pytest.approx(0.5 * (1 - np.mean(by_class)))
    assert float(both["cross_entropy"]) == pytest.approx(nats.sum() / 3)


@pytest.mark.parametrize("options", [{}, {"focal": 0.5}, {"focal": 2.0, "dice": 1.0}, {"class_weights": {"cat": 2.0}}])
def test_a_batch_of_void_and_one_of_certainty_have_finite_losses_and_gradients(options: dict[str, Any]) -> None:
    for logits, truth in (
        (torch.randn(2, 3, 4, 4), torch.full((2, 4, 4), IGNORE)),
        (torch.tensor([200.0, 0, 0]).view(1, 3, 1, 1).repeat(2, 1, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)),
        (torch.tensor([200.0, 0, 0]).view(1, 3, 1, 1).repeat(2, 1, 4, 4), torch.ones(2, 4, 4, dtype=torch.int64)),
    ):
        logits = logits.clone().requires_grad_()
        loss = torch.stack(list(losses(logits, truth, **options).values())).sum()
        loss.backward()
        loss = loss.detach()
        assert bool(loss.isfinite())
        assert logits.grad is not None
        assert bool(logits.grad.isfinite().all())
        if bool((truth == IGNORE).all()):
            assert float(loss) == 0
            assert not logits.grad.any()


def test_parts_of_a_batch_add_up_to_the_whole() -> None:
    """Two workers with a part each train as one with the whole batch, however much of each is void."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 3, 4, 4, generator=generator)
    truth = torch.randint(0, 3, (3, 4, 4), generator=generator)
    truth[0, :3] = IGNORE
    options: dict[str, Any] = {"dice": 1.0, "class_weights": {"cat": 3.0}}
    whole = losses(logits, truth, **options)
    parts = [losses(logits[part], truth[part], **options) for part in (slice(0, 2), slice(2, 3))]
    for name, value in whole.items():
        assert float(parts[0][name] * 2 + parts[1][name]) / 3 == pytest.approx(float(value), rel=1e-5)


def test_patches_are_whole_cells_chosen_at_random_whose_mean_is_the_loss_of_all() -> None:
    torch.manual_seed(0)
    learner = segmentation.learner(nn.Identity(), with_classes(3), patches=0.25, patch_side=4)
    truth = torch.randint(0, 3, (3, 10, 14))
    truth[0, :5] = IGNORE
    logits = torch.randn(3, 3, 10, 14, requires_grad=True)
    whole = losses(logits, truth)["cross_entropy"].item()
    values, masks = [], []
    for _ in range(400):
        (loss,) = learner.losses(logits, truth, "train").values()
        (gradient,) = torch.autograd.grad(loss, logits)
        values.append(loss.item())
        masks.append(gradient.abs().sum(1) > 0)
    assert np.mean(values) == pytest.approx(whole, abs=float(np.std(values)) / 5)
    assert np.std(values) > 0.1 * whole
    assert not torch.equal(masks[0], masks[1])
    counted = torch.stack(masks).float()
    for top, left in ((0, 0), (4, 8), (8, 12)):  # the last cell lies half outside
        cell = counted[:, 1, top : top + 4, left : left + 4].flatten(1)
        assert torch.equal(cell.amin(1), cell.amax(1))
        assert float(cell.mean()) == pytest.approx(0.25, abs=0.09)
    assert torch.corrcoef(counted[:, 1, ::4, ::4].flatten(1).T).fill_diagonal_(0).abs().max() < 0.25  # independent
    assert learner.eval().losses(logits, truth, "train")["cross_entropy"].item() == pytest.approx(whole)


@pytest.mark.parametrize("options", [{"patches": 0.0}, {"patches": 1.5}, {"patches": 0.5, "patch_side": 0}])
def test_the_fraction_of_patches_is_above_0_and_at_most_1(options: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"loss\.patches: .* must be above 0 and at most 1"):
        segmentation.learner(nn.Identity(), SETTINGS, **options)


@torch.no_grad()
def test_a_network_that_sees_the_middle_learns_from_it_and_predicts_all() -> None:
    torch.manual_seed(0)
    spec = Spec("segmentation", 3, 3, 44)
    network = unet.build(spec, padding="valid", width=2, depth=2, dropout=0).eval()
    learner = segmentation.learner(network, with_classes(3))
    pixels = torch.randint(0, 256, (2, 3, 44, 44), dtype=torch.uint8)
    truth = torch.randint(0, 3, (2, 44, 44))
    elsewhere = truth.clone()
    elsewhere[:, 20:24, 20:24] = IGNORE
    assert float(learner(pixels, elsewhere)["cross_entropy"]) == 0
    expected = nn.functional.cross_entropy(network(learner.normalize(pixels)), truth[:, 20:24, 20:24])
    assert float(learner(pixels, truth)["cross_entropy"]) == pytest.approx(float(expected))
    border = torch.full((2, 44, 44), 50.0)
    border[:, 20:24, 20:24] = 1  # a pixel of class weight 1 counts twice
    asking = segmentation.learner(network, with_classes(3), border_weights=True)
    assert float(asking(pixels, (truth, border))["cross_entropy"]) == pytest.approx(2 * float(expected))
    predictions = learner(pixels)
    middle = network(learner.normalize(pixels)).argmax(1)
    assert [(item.ids.shape, item.ids.dtype, item.classes) for item in predictions] == [((44, 44), np.uint8, 3)] * 2
    np.testing.assert_array_equal(predictions[1].ids[20:24, 20:24], middle[1])
    assert set(learner.state_dict()) == {f"network.{name}" for name in network.state_dict()}


def test_a_small_network_learns_its_images_by_heart() -> None:
    torch.manual_seed(0)
    spec = Spec("segmentation", 3, 3, 16)
    learner = segmentation.learner(
        unet.build(spec, width=4, depth=1, norm="batch", dropout=0), with_classes(3), dice=1.0
    )
    truths = [np.kron(np.random.default_rng(seed).integers(0, 3, (4, 4)), np.ones((4, 4))) for seed in range(4)]
    samples = [
        Sample(
            str(index),
            np.repeat(truth[..., None] * 60 + 40, 3, axis=2).astype(np.uint8),
            semantic=truth.astype(np.uint8),
        )
        for index, truth in enumerate(truths)
    ]
    pixels, targets = segmentation.collate(samples, with_classes(3))
    optimizer = torch.optim.Adam(learner.parameters(), 0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.stack(list(learner(pixels, targets).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        maps = learner.eval()(pixels)
    rows = pa.Table.from_pylist([segmentation.rows(*pair) for pair in zip(samples, maps, strict=True)])
    assert segmentation.scorer(rows, with_classes(3))(np.ones(4, np.int64))["mIoU"] > 0.95


def test_wrong_settings_name_the_remedy() -> None:
    with pytest.raises(
        UserError, match=r"loss\.class_weights: no class is named 'bakground'; did you mean 'background'"
    ):
        segmentation.learner(nn.Identity(), SETTINGS, class_weights={"bakground": 0.5})
    with pytest.raises(UserError, match=r"loss\.class_weights: 'balanced' is not a mapping from class to weight"):
        segmentation.learner(nn.Identity(), SETTINGS, class_weights="balanced")  # type: ignore[arg-type]
    many = dataclasses.replace(SETTINGS, semantic_classes=tuple(map(str, range(256))))
    with pytest.raises(UserError, match="256 semantic classes; at most 255 are possible"):
        segmentation.learner(nn.Identity(), many)


def test_answer_and_back() -> None:
    """The mask is a PNG of ids in the image's own size; read again, it scores as the prediction did."""
    truth, small = case(1)[0][0], np.array([[0, 5], [3, 4]], np.uint8)
    prediction = LabelMap(small, 6)
    answered = json.loads(json.dumps(segmentation.answer(sample(truth), prediction, SETTINGS)))
    assert list(answered) == list(segmentation.OUTPUT)
    assert answered["classes"] == list(NAMES)
    with Image.open(io.BytesIO(base64.b64decode(answered["mask"]))) as mask:
        assert mask.format == "PNG"
        np.testing.assert_array_equal(np.asarray(mask), images.resize(small, *truth.shape, smooth=False))
    again = segmentation.prediction(sample(truth), answered, SETTINGS)
    assert segmentation.rows(sample(truth), again) == segmentation.rows(sample(truth), prediction)


def test_pictures_show_image_truth_prediction_and_what_is_wrong() -> None:
    truth = np.zeros((40, 40), np.uint8)
    truth[:20] = 1
    item, prediction = sample(truth), LabelMap(np.array([[1, 1], [0, 2]], np.uint8), 6)
    picture = segmentation.draw(item, prediction, SETTINGS)
    assert picture.shape == (256 + 2 * 16, 228, 3)  # three classes are shown, two a line
    colors = [picture[row, column].tolist() for row, column in ((264, 8), (264, 124), (280, 8), (280, 124))]
    assert colors == [*palette()[:3].tolist(), [255] * 3]
    assert np.all(picture[256:, 17:100] < 128, axis=2).any()  # a name is written
    assert picture.dtype == np.uint8
    plain, true, guessed, wrong = (
        picture[:112, :112],
        picture[:112, 116:],
        picture[128:240, :112],
        picture[128:240, 116:],
    )
    assert abs(float(plain.mean()) - item.pixels.mean()) < 4
    np.testing.assert_array_equal(true[:50], guessed[:50])
    assert not np.array_equal(true[62:, 62:], guessed[62:, 62:])
    red = (wrong == (198, 40, 40)).all(axis=2)
    assert red[58:, 58:].all()
    assert red.mean() == pytest.approx(0.25, abs=0.02)
    void = segmentation.draw(sample(np.full((9, 30), IGNORE, np.uint8)), prediction, SETTINGS)
    assert void.shape == picture.shape


def test_figures_show_fractions_and_ious() -> None:
    truths, guesses = [np.array([[0, 0, 0, 1]], np.uint8)], [np.array([[0, 0, 1, 1]], np.uint8)]
    figures = segmentation.figures(table(truths, guesses, 3), with_classes(3))
    (axes,) = figures["confusion"].axes
    expected = np.array([[2, 1, 0], [0, 3, 0], [0, 0, 0]]) / 3
    np.testing.assert_allclose(np.asarray(axes.images[0].get_array()), expected)
    assert [text.get_text() for text in axes.texts] == ["67", "33", "0", "0", "100", "0", "0", "0", "0"]
    (bars,) = figures["IoU"].axes
    assert [bar.get_extents().width / bars.bbox.width for bar in bars.patches] == pytest.approx([2 / 3, 1 / 2, 0])
    assert [text.get_text() for text in bars.texts] == ["0.67", "0.50", "absent"]
