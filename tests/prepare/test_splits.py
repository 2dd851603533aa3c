"""What is said of splits and classes that teach little."""

from pipeline.prepare import splits
from pipeline.sample import Classes


def test_classes_that_differ_by_case_or_spaces_are_reported() -> None:
    classes = Classes(("Bolt", "bolt ", "nut", "C", "c++"), semantic=("sky", "hot dog", "hot_dog"))
    warnings = {fault.where: fault for fault in splits.similar(classes)}
    assert set(warnings) == {"class 'bolt '", "class 'hot_dog'"}
    assert all(fault.warning for fault in warnings.values())
    assert "'Bolt'" in warnings["class 'bolt '"].reason
