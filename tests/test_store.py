"""A stored folder is complete and verified, or refused by name; earlier work comes back."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pipeline import store
from pipeline.errors import UserError


def fill(path: Path) -> None:
    (path / "inner").mkdir()
    (path / "a.txt").write_text("alpha")
    (path / "inner" / "b.txt").write_text("beta")


def stored(path: Path, fingerprint: str = "f1") -> Path:
    with store.folder(path, fingerprint) as temporary:
        fill(temporary)
    return path


def test_folder_appears_whole(tmp_path: Path) -> None:
    path = stored(tmp_path / "it")
    assert store.verify(path)["fingerprint"] == "f1"
    assert store.holds(path, "f1")
    assert not store.holds(path, "f2")
    assert [item.name for item in tmp_path.iterdir()] == ["it"]


def test_crash_inside_the_block_leaves_the_old_intact(tmp_path: Path) -> None:
    path = stored(tmp_path / "it")

    def crash() -> None:
        with store.folder(path, "f2") as temporary:
            (temporary / "half").write_text("…")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crash()
    assert store.holds(path, "f1")
    assert [item.name for item in tmp_path.iterdir()] == ["it"]


def test_what_a_dead_process_of_the_same_number_left_is_no_hindrance(tmp_path: Path) -> None:
    path = stored(tmp_path / "it")
    left = tmp_path / f".it.old-{os.getpid()}"
    left.mkdir()
    (left / "file").touch()
    stored(path, "f2")
    assert store.holds(path, "f2")


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_damage_is_refused_naming_the_file(tmp_path: Path, damage: str) -> None:
    path = stored(tmp_path / "it")
    file = path / "inner" / "b.txt"
    if damage == "flip":
        data = bytearray(file.read_bytes())
        data[1] ^= 1
        file.write_bytes(data)
    elif damage == "truncate":
        file.write_bytes(file.read_bytes()[:-1])
    else:
        file.unlink()
    with pytest.raises(store.StoreError, match=r"b\.txt"):
        store.verify(path)
    assert not store.holds(path, "f1")


def test_no_byte_of_the_manifest_can_flip_unnoticed(tmp_path: Path) -> None:
    path = stored(tmp_path / "it")
    manifest = path / store.MANIFEST
    sound = manifest.read_bytes()
    for place, byte in enumerate(sound):
        if chr(byte).isspace():
            continue
        damaged = bytearray(sound)
        damaged[place] ^= 1
        manifest.write_bytes(damaged)
        assert not store.holds(path, "f1"), damaged[: place + 1]


def test_settle_makes_keeps_and_restores(tmp_path: Path) -> None:
    made = []

    def make(path: Path) -> None:
        made.append(path)
        fill(path)

    target, kept = tmp_path / "out" / "it", tmp_path / "kept"
    assert store.update(target, "f1", kept, make) == "made"
    assert store.update(target, "f1", kept, make) == "kept"
    assert store.update(target, "f2", kept, make) == "made"
    assert store.update(target, "f1", kept, make) == "restored"
    assert len(made) == 2
    (target / "a.txt").unlink()
    assert store.update(target, "f1", kept, make) == "restored"
    assert store.holds(target, "f1")


def test_settle_keeps_a_copy_of_what_was_pulled(tmp_path: Path) -> None:
    target, kept = stored(tmp_path / "it"), tmp_path / "kept"
    assert store.update(target, "f1", kept, fill) == "kept"
    assert store.holds(kept / "f1", "f1")


def test_damage_that_reaches_both_copies_is_made_again(tmp_path: Path) -> None:
    target, kept = tmp_path / "it", tmp_path / "kept"
    store.update(target, "f1", kept, fill)
    (target / "a.txt").write_text("omega")  # hard links: the kept copy changes too
    assert store.update(target, "f1", kept, fill) == "made"
    assert store.holds(target, "f1")


def test_what_is_kept_becomes_links_to_its_copy_again(tmp_path: Path) -> None:
    """As after DVC made copies of links; and a copy that is damaged is not taken."""
    target, kept = tmp_path / "it", tmp_path / "kept"
    store.update(target, "f1", kept, fill)
    names = list(store.manifest(target)["files"])

    def part() -> list[bool]:
        for name in names:
            data = (target / name).read_bytes()
            (target / name).unlink()
            (target / name).write_bytes(data)
        assert store.update(target, "f1", kept, fill) == "kept"
        assert store.holds(target, "f1")
        return [(target / name).samefile(kept / "f1" / name) for name in names]

    assert all(part())
    for name in names:
        (kept / "f1" / name).unlink()
        (kept / "f1" / name).write_bytes(b"damaged")
    assert not any(part())


def test_copy_leaves_the_source_alone(tmp_path: Path) -> None:
    source, target = stored(tmp_path / "it"), tmp_path / "copy"
    store.copy(source, target)
    assert store.verify(target) == store.verify(source)
    store.write_bytes(target / "a.txt", b"other")
    (target / "inner" / "b.txt").unlink()
    assert store.holds(source, "f1")
    assert not store.holds(target, "f1")


def test_keep_only_removes_the_rest(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        stored(tmp_path / name)
    assert store.keep_only(tmp_path, {"b"}) == ["a", "c"]
    assert store.keep_only(tmp_path / "nowhere", set()) == []
    assert [item.name for item in tmp_path.iterdir()] == ["b"]


def test_bound_removes_the_least_recently_used(tmp_path: Path) -> None:
    for age, name in enumerate(("new", "middle", "wanted")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data").write_bytes(bytes(100))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
    store.bound(tmp_path, 300, {"wanted"})
    assert len(list(tmp_path.iterdir())) == 3
    store.bound(tmp_path, 250, {"wanted"})
    assert {item.name for item in tmp_path.iterdir()} == {"new", "wanted"}
    store.bound(tmp_path, 0, {"wanted"})
    assert {item.name for item in tmp_path.iterdir()} == {"wanted"}


DIE_HOLDING = """
import os, sys
from pathlib import Path
from pipeline import store
with store.locked(Path(sys.argv[1]), "prepare"):
    os._exit(9)
"""


def test_lock_refuses_a_second_holder_and_dies_with_its_process(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with store.locked(lock, "prepare"), pytest.raises(UserError, match="prepare is already running"):
        store.locked(lock, "prepare").__enter__()
    root = Path(store.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", DIE_HOLDING, str(lock)], check=False, cwd=root).returncode == 9
    with store.locked(lock, "prepare"):
        pass


DIE_FILLING = """
import os, sys
from pathlib import Path
from pipeline import store
with store.folder(Path(sys.argv[1]), "f1") as temporary:
    (temporary / "half").touch()
    os._exit(9)
"""


def test_what_a_dead_process_was_filling_is_swept_by_the_next_and_a_living_ones_is_not(tmp_path: Path) -> None:
    target, kept = tmp_path / "target/a", tmp_path / "kept"
    stored(target)
    stored(kept / "f1")
    root = Path(store.__file__).parents[1]
    command = [sys.executable, "-c", DIE_FILLING, str(kept / "f2")]
    assert subprocess.run(command, check=False, cwd=root).returncode == 9
    (left,) = kept.glob(".f2.*")
    with store.folder(kept / "f3", "f3") as living:
        (living / "a").touch()
        assert not left.exists()
        assert subprocess.run(command, check=False, cwd=root).returncode == 9
        assert store.update(target, "f1", kept, fill) == "kept"
        assert [path.name for path in kept.iterdir() if path.name.startswith(".")] == [living.name]
    assert store.holds(kept / "f3", "f3")


def test_keep_only_removes_what_a_dead_process_was_writing(tmp_path: Path) -> None:
    stored(tmp_path / "it")
    (tmp_path / ".failed.json.abc").touch()
    (tmp_path / "failed.json").touch()
    assert store.keep_only(tmp_path, {"it"}) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["failed.json", "it"]


LOOK_ON = """
import sys, time
from pathlib import Path
from pipeline import store
end = time.monotonic() + 1
print("looking", flush=True)
while time.monotonic() < end:
    store.held(Path(sys.argv[1]))
"""


def test_a_look_at_a_lock_does_not_keep_anyone_from_it(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.touch()
    root = Path(store.__file__).parents[1]
    with subprocess.Popen([sys.executable, "-c", LOOK_ON, str(lock)], cwd=root, stdout=subprocess.PIPE) as looking:
        assert looking.stdout is not None
        looking.stdout.readline()
        taken = 0
        while looking.poll() is None:
            with store.locked(lock, "prepare"):
                assert store.held(lock)
                taken += 1
    assert taken >= 3


def test_damaged_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(store.StoreError, match=r"x\.json"):
        store.read_json(tmp_path / "x.json")
    assert store.read_json(tmp_path / "none.json", 3) == 3


def test_each_file_is_read_once_where_nothing_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, kept = tmp_path / "it", tmp_path / "kept"
    store.update(target, "f1", kept, fill)
    files = list(target.rglob("*.txt"))
    for copied in (False, True):  # links, and copies, as DVC makes them of links
        for path in files:
            if copied:
                data = path.read_bytes()
                path.unlink()
                path.write_bytes(data)
        read, digest = list[str](), store.file_digest

        def counted(path: Path, read: list[str] = read, digest: Any = digest) -> str:
            read.append(path.name)
            return str(digest(path))

        monkeypatch.setattr(store, "file_digest", counted)
        assert store.update(target, "f1", kept, fill) == "kept"
        assert sorted(read) == sorted(path.name for path in files)
        monkeypatch.undo()
        assert all(path.samefile(kept / "f1" / path.relative_to(target)) for path in files)


def test_a_link_that_a_killed_process_left_is_in_no_way(tmp_path: Path) -> None:
    target, kept = tmp_path / "it", tmp_path / "kept"
    store.update(target, "f1", kept, fill)
    path = target / "a.txt"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data)
    (target / ".a.txt.link").write_text("left")
    assert store.update(target, "f1", kept, fill) == "kept"
    assert path.samefile(kept / "f1" / "a.txt")
    assert not (target / ".a.txt.link").exists()
