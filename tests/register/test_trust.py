"""A model's code runs only if its files are signed with a key of the project."""

import shutil
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest

from convline import checking, predicting
from convline.commands import trust as command
from convline.findings import Finding
from flows import tables
from pipeline import store, tracking
from pipeline.errors import UserError
from pipeline.params import Params
from pipeline.register import champion, decisions, trust, versions
from pipeline.register import stage as register_stage
from pipeline.report.results import read
from pipeline.report.sections import champions as section
from pipeline.tracking import FINGERPRINT
from tests.helpers import support
from tests.helpers.support import GOOD, WEAK

MODEL = "digits-classification"
MLMODEL = "flavors:\n  python_function:\n    loader_module: stranger\n    code: code\n    python_version: 3.11.0\n"
ONE, OTHER = "a" * 64, "b" * 64


def linked(trained: Path, root: Path) -> Path:
    for name in ("data", "models", "metrics", "evaluations"):
        (root / name).symlink_to(trained / name)
    return root


@pytest.fixture(scope="module")
def held(trained: tuple[Path, Params], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with one registered model, its champion; what a test changes it puts back."""
    root = linked(trained[0], tmp_path_factory.mktemp("held"))
    register_stage.run(support.write_params(root, {"weak": WEAK}), root)
    return root


@pytest.fixture
def own(held: Path) -> tuple[Path, Any, Any]:
    """That project, a client, and the champion's version."""
    client = tracking.client(held)
    return held, client, client.get_model_version_by_alias(MODEL, "champion")


def stranger(client: Any, folder: Path, ran: Path) -> str:
    """A version with an artifact place of its own, whose code writes a file, called champion; returns its number."""
    (folder / "code").mkdir(parents=True)
    (folder / "MLmodel").write_text(MLMODEL)
    (folder / "code/stranger.py").write_text(f"open({str(ran)!r}, 'w').close()\ndef _load_pyfunc(path): return None\n")
    number = str(client.create_model_version(MODEL, folder.as_uri()).version)
    client.set_registered_model_alias(MODEL, "champion", number)
    return number


def test_a_strangers_champion_is_not_run_until_it_is_trusted(
    trained: tuple[Path, Params],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "project").mkdir()
    root = linked(trained[0], tmp_path / "project")
    params = support.write_params(root, {"weak": WEAK, "good": GOOD})
    client, ran = tracking.client(root), tmp_path / "ran"
    client.create_registered_model(MODEL)
    trust.begin(client, root, trust.keys(root))
    number = stranger(client, tmp_path / "theirs", ran)
    for _ in range(2):
        register_stage.run(params, root)
        told = capsys.readouterr().out
        assert f"version {number} is not signed with a key of this project, so its code is not run" in told
        assert f"`convline trust {MODEL} {number}`" in told
    assert not ran.exists()
    assert str(client.get_model_version_by_alias(MODEL, "champion").version) == number, "it is not replaced"
    assert {run.info.run_name for run in client.search_runs(["1"])} == {"weak", "good"}, "the rest of the run went on"
    assert len(client.search_model_versions(f"name = '{MODEL}'")) == 3
    readers_take_it(root, params, number)

    monkeypatch.chdir(root)
    assert command.command(MODEL, number) == 0
    assert "is signed" in capsys.readouterr().out
    with pytest.raises(UserError, match="exited with code"):  # it is no model of digits
        register_stage.run(params, root)
    assert ran.exists(), "now it is run"


def readers_take_it(root: Path, params: Params, number: str) -> None:
    """Whoever reads registered.json, or asks MLflow, says the same in a sentence."""
    registered = store.read_json(root / "reports/registered.json")
    assert registered[MODEL]["champion"] == {"job": f"version {number}", "fingerprint": ""}
    (row,) = tables.decisions({}, registered)
    assert "is not signed" in row["decision"]
    assert "is not signed" in section.render(read(root, params))
    found = [item for item in checking.check_mlflow(root) if isinstance(item, Finding)]
    assert [item.what for item in found] == [
        f"champion of {MODEL}: version {number} is not signed with a key of this project, so its code is not run"
    ]
    with pytest.raises(
        UserError, match=f"champion of {MODEL}, version {number}, is no model of this project: .* not signed"
    ):
        predicting.model_folder(root, MODEL)


def test_a_strangers_version_of_our_fingerprint_is_not_taken_for_ours(own: tuple[Path, Any, Any]) -> None:
    root, client, version = own
    mark = version.tags[FINGERPRINT]
    theirs = client.create_model_version(
        MODEL, "file:///nowhere", tags={FINGERPRINT: mark, "convline.signature": "a:b"}
    )
    found = versions.find(client, trust.keys(root), MODEL, mark)
    assert found is not None
    assert found.version == version.version
    assert client.get_model_version(MODEL, theirs.version), "and it is left alone"
    client.delete_model_version(MODEL, theirs.version)


def test_files_that_were_changed_are_not_run(own: tuple[Path, Any, Any], tmp_path: Path) -> None:
    root, client, version = own
    known = trust.keys(root)
    place = trust.local(root, client.get_model_version_download_uri(MODEL, version.version))
    assert place is not None
    (place / "code/__pycache__").mkdir()
    (place / "code/__pycache__/stranger.pyc").write_bytes(b"x")
    (place / "registered_model_meta").write_text("model_name: digits\n")
    copy = trust.verified(client, known, version, tmp_path / "first")
    assert (copy / "MLmodel").is_file()
    assert not list(copy.rglob("__pycache__")), "what loading leaves is no part of what runs"
    for change in ("code/pipeline/stranger.py", "MLmodel"):
        with (place / change).open("a") as file:
            file.write("\n")
        with pytest.raises(trust.UntrustedError, match="has files that differ from the signed ones"):
            trust.verified(client, known, version, tmp_path / change.replace("/", "-"))
        if change != "MLmodel":
            (place / change).unlink()
    shutil.copy(copy / "MLmodel", place / "MLmodel")
    shutil.move(place, tmp_path / "away")
    with pytest.raises(trust.UntrustedError, match="can't be read at"):
        trust.verified(client, known, version, tmp_path / "none")
    shutil.move(tmp_path / "away", place)


def test_versions_that_are_older_than_the_key_are_signed_once(own: tuple[Path, Any, Any], tmp_path: Path) -> None:
    root, client, version = own

    def older(source: str) -> Any:
        tags = {FINGERPRINT: version.tags[FINGERPRINT]}
        return client.create_model_version(MODEL, source, tags=tags).version

    ours = older(version.source)
    place = trust.local(root, client.get_model_version_download_uri(MODEL, version.version))
    assert place is not None
    shutil.copytree(place, tmp_path / "outside")
    outside = older((tmp_path / "outside").as_uri())
    shutil.copytree(place, place.parent / "changed")
    (weights,) = (place.parent / "changed").rglob("weights.safetensors")
    weights.write_bytes(weights.read_bytes() + b"x")
    changed = older((place.parent / "changed").as_uri())
    (root / "mlruns" / trust.MARKER).unlink()
    known = trust.keys(root)
    trust.begin(client, root, known)
    later = older(version.source)
    trust.begin(client, root, known)

    def signed(number: str) -> bool:
        return trust.signed(known, client.get_model_version(MODEL, number)) is not None

    assert [signed(number) for number in (ours, outside, changed, later)] == [True, False, False, False]
    for number in (ours, outside, changed, later):
        client.delete_model_version(MODEL, number)


def version_of(key: str, **tags: str) -> Any:
    signature = trust.sign(key.encode(), MODEL, "mark", "digest")
    return SimpleNamespace(name=MODEL, version="1", tags={FINGERPRINT: "mark", trust.SIGNATURE: signature, **tags})


def test_clones_of_one_key_trust_each_other_and_those_of_two_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(trust.VARIABLE, ONE)
    assert trust.signed(trust.keys(tmp_path), version_of(ONE)) == "digest"
    assert trust.signed(trust.keys(tmp_path), version_of(OTHER)) is None
    assert not list(tmp_path.iterdir()), "no key is made where a team has one"
    monkeypatch.delenv(trust.VARIABLE)
    (own,) = trust.keys(tmp_path)
    assert trust.keys(tmp_path) == [own], "it is made once"
    assert trust.signed([own], version_of(ONE)) is None
    monkeypatch.setenv(trust.VARIABLE, ONE)
    assert trust.keys(tmp_path) == [ONE.encode(), own], "what was signed before there was a team still counts"


@pytest.mark.parametrize("tag", [FINGERPRINT, trust.SIGNATURE])
def test_a_signature_is_of_one_version(tag: str) -> None:
    known = [ONE.encode()]
    assert trust.signed(known, version_of(ONE)) == "digest"
    assert trust.signed(known, version_of(ONE, **{tag: "other"})) is None
    other = version_of(ONE)
    other.name = "other"
    assert trust.signed(known, other) is None


def test_the_key_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trust.keys(tmp_path)
    path = tmp_path / "mlruns" / trust.KEY
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    with pytest.raises(UserError, match=f"chmod go= {path}"):
        trust.keys(tmp_path)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(UserError, match="chmod o-w"):
        trust.keys(tmp_path)
    path.parent.chmod(0o755)
    path.write_text("")
    with pytest.raises(UserError, match="holds no key"):
        trust.keys(tmp_path)
    monkeypatch.setenv(trust.VARIABLE, "short")
    with pytest.raises(UserError, match="at least 32 characters"):
        trust.keys(tmp_path)


def test_what_is_not_there_can_not_be_trusted(
    own: tuple[Path, Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, client, _ = own
    for model, number in ((MODEL, "99"), ("nothing", "1"), (MODEL, "champion")):
        with pytest.raises(UserError, match=f"no such version. Registered models are: {MODEL}"):
            trust.trust(client, root, model, number)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="no MLflow database yet"):
        command.command(MODEL, "1")


def test_the_first_champion_is_reported_once(held: Path, capsys: pytest.CaptureFixture[str]) -> None:
    entry = store.read_json(held / "reports/registered.json")[MODEL]
    assert decisions.news(None, entry) == "the first champion"
    capsys.readouterr()
    register_stage.run(support.write_params(held, {"weak": WEAK}), held)
    assert capsys.readouterr().out == f"register: {MODEL}: champion weak, as before\n"
    assert "the first" not in entry["decision"]["text"], "the report shows it for as long as it is champion"
    more = {**entry, "models": {**entry["models"], "another": "job"}}
    assert decisions.news(entry, more) == "as before"
    assert tables.decisions({MODEL: entry}, {MODEL: more})[0]["decision"] == "as before"
    earlier = {**entry, "decision": {"text": "the first: there was none before"}}
    assert decisions.news(earlier, entry) == "as before"


def test_a_promotion_that_a_person_takes_back_is_not_made_again(
    held: Path, trained: tuple[Path, Params], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = pq.read_table(trained[0] / "evaluations/weak/test.parquet")
    monkeypatch.setattr(champion, "rows", lambda *arguments: rows)
    params = support.write_params(held, {"weak": WEAK, "good": GOOD})

    def settled() -> dict[str, Any]:
        register_stage.run(params, held)
        return dict(store.read_json(held / "reports/registered.json")[MODEL])

    assert settled()["champion"]["job"] == "good"
    client = tracking.client(held)
    former = client.get_model_version_by_alias(MODEL, "previous")
    client.set_registered_model_alias(MODEL, "champion", former.version)
    entry = settled()
    assert entry["champion"]["job"] == "weak"
    assert "was demoted by hand" in entry["decision"]["text"]
