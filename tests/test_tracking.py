"""One run a fingerprint, each epoch once, whatever is retried."""

from pathlib import Path

import numpy as np
import pytest

from pipeline import images, tracking

SETTINGS = {"dataset": "digits", "task": "classification", "architecture": "linear", "options": {"depth": 2}, "lr": 0.1}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tracking")


def rows(epochs: int) -> list[dict[str, float]]:
    return [
        {"epoch": epoch, "step": epoch * 9, "train/loss": 1 / epoch, "val/top1": 0.5} for epoch in range(1, epochs + 1)
    ]


def test_a_run_is_found_again_and_epochs_are_logged_once(root: Path) -> None:
    client = tracking.client(root)
    first = tracking.run(client, root, "job", "f" * 64, SETTINGS)
    first.log_history(rows(2))
    first.log_history(rows(2))
    again = tracking.run(tracking.client(root), root, "renamed", "f" * 64, SETTINGS)
    again.log_history(rows(4))
    assert again.run_id == first.run_id
    curve = client.get_metric_history(first.run_id, "train/loss")
    assert [metric.step for metric in curve] == [1, 2, 3, 4]
    stored = client.get_run(first.run_id)
    assert stored.info.run_name == "renamed"
    assert stored.data.params["options.depth"] == "2"
    other = tracking.run(client, root, "job", "e" * 64, SETTINGS)
    assert other.run_id != first.run_id


def test_what_a_killed_process_did_not_log_is_logged_by_the_next(root: Path) -> None:
    client = tracking.client(root)
    number = tracking.experiment(client, root, "digits", "classification")
    run_id = client.create_run(number, tags={tracking.FINGERPRINT: "9" * 64}).info.run_id
    client.log_param(run_id, "lr", "0.1")
    again = tracking.run(client, root, "job", "9" * 64, SETTINGS)
    assert again.run_id == run_id
    assert again.stored().data.params == {key: str(value) for key, value in tracking.flat(SETTINGS).items()}
    client.log_metric(run_id, "val/top1", 0.5, step=1, timestamp=1000)  # of an epoch, but not its loss
    again.log_history(rows(2))
    for name in ("train/loss", "val/top1"):
        assert [metric.step for metric in client.get_metric_history(run_id, name)] == [1, 2]


def test_a_number_that_has_changed_is_the_one_that_is_shown(root: Path) -> None:
    client = tracking.client(root)
    run = tracking.run(client, root, "job", "8" * 64, SETTINGS)
    for value in (0.9, 0.8, 0.8):
        run.log_totals({"top1": value, "none": None})
    assert run.stored().data.metrics == {"top1": 0.8}
    assert len(client.get_metric_history(run.run_id, "top1")) == 2


def test_artifacts_have_an_absolute_path(root: Path) -> None:
    client = tracking.client(root)
    number = tracking.experiment(client, root, "digits", "classification")
    assert client.get_experiment(number).artifact_location.startswith(f"file://{root}")
    assert tracking.experiment(client, root, "digits", "classification") == number


def test_the_dataset_is_the_runs_input(root: Path) -> None:
    client = tracking.client(root)
    run = tracking.run(client, root, "job", "d" * 64, SETTINGS)
    run.log_dataset("digits", "0123456789abcdef" * 4)
    run.log_dataset("digits", "0123456789abcdef" * 4)
    (item,) = client.get_run(run.run_id).inputs.dataset_inputs
    assert (item.dataset.name, item.dataset.digest) == ("digits", "0123456789abcdef" * 2)


def test_the_end_is_written(root: Path) -> None:
    client = tracking.client(root)
    run = tracking.run(client, root, "job", "c" * 64, SETTINGS)
    assert client.get_run(run.run_id).info.status == "RUNNING"
    run.end("FAILED", "the loss is not finite")
    assert client.get_run(run.run_id).info.status == "FAILED"
    assert run.tags()["convline.reason"] == "the loss is not finite"


def test_a_run_that_nothing_trains_is_not_left_running(root: Path) -> None:
    client = tracking.client(root)
    dead, alive = (tracking.run(client, root, "job", letter * 64, SETTINGS) for letter in "ab")
    tracking.end_orphans(client, lambda mark: mark == "b" * 64)
    assert client.get_run(dead.run_id).info.status == "KILLED"
    assert client.get_run(alive.run_id).info.status == "RUNNING"
    dead.begin()
    assert client.get_run(dead.run_id).info.status == "RUNNING"


@pytest.mark.parametrize(
    ("name", "expected"), [("test/top1", "test/top1"), ("recall[3]", "recall.3"), ("recall[ä&b]", "recall.ä_b")]
)
def test_metric_names_are_those_mlflow_takes(name: str, expected: str) -> None:
    assert tracking.metric_name(name) == expected


def test_a_runs_page_is_found_by_its_fingerprint(root: Path) -> None:
    client = tracking.client(root)
    run = tracking.run(client, root, "job", "c" * 64, SETTINGS)
    number = tracking.experiment(client, root, "digits", "classification")
    assert tracking.page(client, "c" * 64) == f"#/experiments/{number}/runs/{run.run_id}"
    assert tracking.page(client, "0" * 64) is None


def test_a_second_tree_that_links_to_the_folder_names_the_same_path(root: Path, tmp_path: Path) -> None:
    (root / tracking.FOLDER).mkdir(exist_ok=True)
    (tmp_path / tracking.FOLDER).symlink_to(root / tracking.FOLDER)
    assert tracking.uri(tmp_path) == tracking.uri(root)


def test_pictures_of_a_training_are_logged_by_epoch_and_once(root: Path, tmp_path: Path) -> None:
    pictures = {}
    for epoch in (1, 2, 12):
        pictures[epoch] = tmp_path / f"{epoch:05d}.png"
        pictures[epoch].write_bytes(images.encode_png(np.full((4, 4, 3), epoch, np.uint8)))
    client = tracking.client(root)
    run = tracking.run(client, root, "job", "b" * 64, SETTINGS)
    run.log_snapshots({1: pictures[1], 2: pictures[2]})
    run.log_snapshots(pictures)
    names = [item.path for item in client.list_artifacts(run.run_id, "images") if item.path.endswith(".png")]
    assert sorted(int(name.split("+step+")[1].split("+")[0]) for name in names) == [1, 2, 12]


def test_a_deleted_experiment_comes_back(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    client = tracking.client(root)
    number = tracking.experiment(client, root, "pets", "classification")
    client.delete_experiment(number)
    assert tracking.deleted(client) == {"pets/classification"}
    assert tracking.experiment(client, root, "pets", "classification") == number
    assert "had been deleted, with its runs; they are restored" in capsys.readouterr().out
    assert not tracking.deleted(client)


def test_tables_that_a_kill_left_half_made_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/.mlflow.db.new").write_bytes(b"half")
    assert tracking.client(tmp_path).search_experiments()
    assert not (tmp_path / "mlruns/.mlflow.db.new-journal").exists()
