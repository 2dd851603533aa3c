"""Which proposals are learnt from, how boxes are told, and which are answers: by hand, and as torchvision has it."""

from math import log
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import fastrcnn_loss

from pipeline.errors import UserError
from pipeline.models.parts.box_coding import SPREAD, Answers, Draw, Drawn, box_loss, decoded, given, told

#: two things, of classes 2 and 0; of the first the proposals cover 50, 49, 11 and 9 %, the last ones nothing
TARGET = {"boxes": torch.tensor([[0.0, 0, 10, 10], [50, 50, 60, 60]]), "labels": torch.tensor([2, 0])}
PROPOSALS = torch.tensor(
    [[0, 0, 10, 5], [0, 0, 10, 4.9], [0, 0, 10, 1.1], [0, 0, 10, 0.9], [20, 20, 30, 30], [20, 0, 30, 9]]
)


def rows(values: Tensor) -> list[tuple[float, ...]]:
    return sorted(tuple(round(value, 3) for value in row) for row in values.tolist())


def test_overlaps_decide_what_a_proposal_shows() -> None:
    drawn = Draw(samples=100, share=0.25, thing=0.5, background=0.1).of(PROPOSALS, TARGET, classes=3)
    shown = dict(zip(map(tuple, drawn.boxes.tolist()), drawn.labels.tolist(), strict=True))
    assert {box: label for box, label in shown.items() if label < 3} == {
        (0, 0, 10, 10): 2,
        (50, 50, 60, 60): 0,
        (0, 0, 10, 5): 2,
    }
    assert rows(drawn.boxes[drawn.labels == 3]) == rows(PROPOSALS[1:3])
    assert rows(drawn.truth[drawn.labels == 2]) == [(0, 0, 10, 10)] * 2
    every = Draw(samples=100, share=0.25, thing=0.5, background=0.0).of(PROPOSALS, TARGET, classes=3)
    assert rows(every.boxes[every.labels == 3]) == rows(PROPOSALS[1:])


def test_at_most_a_quarter_shows_things_and_all_come_in_their_turn() -> None:
    torch.manual_seed(0)
    seen: set[tuple[float, ...]] = set()
    for _ in range(30):
        drawn = Draw(samples=4, share=0.25, thing=0.5, background=0.0).of(PROPOSALS, TARGET, classes=3)
        assert (drawn.labels < 3).sum() == 1
        assert len(drawn.labels) == 4
        seen |= set(rows(drawn.boxes))
    assert len(seen) == 8


def test_an_image_without_things_is_background() -> None:
    target = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    drawn = Draw(samples=4, share=0.25, thing=0.5, background=0.1).of(PROPOSALS, target, classes=3)
    assert drawn.labels.tolist() == [3] * 4
    assert float(box_loss(torch.ones(4, 3, 4), drawn)) == 0


def test_a_box_is_told_by_its_shift_and_its_growth() -> None:
    """Half a width to the right, half a height down, as wide, and twice as high."""
    proposal, truth = torch.tensor([[0.0, 0, 10, 20]]), torch.tensor([[5.0, 0, 15, 40]])
    numbers = told(truth, proposal)
    torch.testing.assert_close(numbers, torch.tensor([[0.5, 0.5, 0.0, log(2)]]))
    both = torch.stack([numbers, torch.zeros(1, 4)], 1)
    torch.testing.assert_close(decoded(both, proposal), torch.stack([truth, proposal], 1))


def test_boxes_are_told_as_torchvision_does() -> None:
    """Also those that would grow without end."""
    _, drawn = drawn_boxes()
    theirs = BoxCoder((1.0, 1.0, 1.0, 1.0))
    torch.testing.assert_close(told(drawn.truth, drawn.boxes), theirs.encode_single(drawn.truth, drawn.boxes))
    numbers = 3 * torch.randn(6, 3, 4, generator=torch.Generator().manual_seed(2))
    expected = theirs.decode_single(numbers.flatten(1), drawn.boxes).view(6, 3, 4)
    torch.testing.assert_close(decoded(numbers, drawn.boxes), expected, rtol=1e-3, atol=1e-2)


def drawn_boxes() -> tuple[Tensor, Drawn]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(12, 2, 2, generator=generator) * 20
    boxes = torch.cat([corners[:, 0], corners[:, 0] + 5 + corners[:, 1]], 1)
    labels = torch.tensor([0, 1, 2, 3, 3, 3])  # 3 is background
    return torch.randn(6, 3, 4, generator=generator), Drawn(boxes[:6], labels, boxes[6:])


def test_the_loss_of_boxes_is_torchvisions() -> None:
    """Theirs counts background first, and turns at 1/9."""
    found, drawn = drawn_boxes()
    theirs = torch.cat([torch.zeros(6, 1, 4), found], 1).flatten(1)
    wanted = told(drawn.truth, drawn.boxes) / torch.tensor(SPREAD)
    _, expected = fastrcnn_loss(torch.zeros(6, 4), theirs, [(drawn.labels + 1) % 4], [wanted])
    torch.testing.assert_close(box_loss(found, drawn, beta=1 / 9), expected)
    assert abs(float(box_loss(found, drawn)) - float(expected)) > 0.01


def test_the_loss_of_boxes_by_hand() -> None:
    """Errors of 0.5 and 3 are 0.125 and 2.5; one of two regions shows a thing."""
    boxes = torch.tensor([[0.0, 0, 10, 10]] * 2)
    numbers = torch.zeros(2, 1, 4)
    numbers[0, 0, :2] = torch.tensor([0.5, 3.0])
    assert float(box_loss(numbers, Drawn(boxes, torch.tensor([0, 1]), boxes))) == pytest.approx(2.625 / 2)


def test_answers_are_the_best_of_those_of_a_class_that_overlap() -> None:
    """Of the first class the second box overlaps the first by 80 %; cut at the border, the third does by 40 %."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 8], [-5, 0, 4, 10], [20, 20, 30, 30], [40, 40, 40, 50]])
    scores = torch.tensor([[0.9, 0.2], [0.8, 0.3], [0.7, 0.0], [0.02, 0.6], [0.95, 0.95]])
    every = boxes[:, None].expand(-1, 2, 4)
    found = Answers(score=0.05, overlap=0.3, detections=10).of(every, scores, 28)
    assert found["labels"].tolist() == [0, 1, 1]
    assert found["boxes"].tolist() == [[0, 0, 10, 10], [20, 20, 28, 28], [0, 0, 10, 8]]
    torch.testing.assert_close(found["scores"], torch.tensor([0.9, 0.6, 0.3]))
    assert len(Answers(0.05, 0.5, 10).of(every, scores, 28)["labels"]) == 4
    assert Answers(0.05, 0.3, 2).of(every, scores, 28)["labels"].tolist() == [0, 1]


def test_proposals_that_are_nowhere_are_missed() -> None:
    target: Any = {"proposals": PROPOSALS}
    assert given([target], None)[0] is PROPOSALS
    assert given([target], [TARGET["boxes"]])[0] is TARGET["boxes"]
    with pytest.raises(UserError, match="was given none"):
        given([TARGET], None)
