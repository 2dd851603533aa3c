"""A command meets closed pipes, ASCII terminals and proxies without a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import command
from pipeline.errors import UserError

ROOT = Path(__file__).parents[1]
BEGIN = "import sys\nfrom pipeline import command\ncommand.set_up()\n"
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "PYTHONCOERCECLOCALE": "0"}


def run(path: Path, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a file, so that it can start again; its output as ASCII would have it."""
    (path / "it.py").write_text(BEGIN + code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    return subprocess.run(
        [sys.executable, "it.py"], cwd=path, env=environment, capture_output=True, encoding="utf-8", check=False
    )


def unread(path: Path, code: str) -> tuple[int, str]:
    """The exit code of a program whose reader has gone, and what it says on stderr."""
    (path / "it.py").write_text(BEGIN + code, encoding="utf-8")
    reads, writes = os.pipe()
    os.close(reads)
    process = subprocess.Popen(
        [sys.executable, "it.py"],
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=writes,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writes)
    _, said = process.communicate()
    return process.returncode, said


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_closed_pipe_ends_quietly(tmp_path: Path, lines: int) -> None:
    code = f"def act():\n    for n in range({lines}): print(n)\n    return 0\nsys.exit(command.run(act))\n"
    assert unread(tmp_path, code) == (141, "")


def test_what_only_waits_for_others_ends_too(tmp_path: Path) -> None:
    code = (
        "import signal, subprocess\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "def act():\n"
        "    with command.end_when_unread(): subprocess.run(['sleep', '600'])\n"
        "sys.exit(command.run(act))\n"
    )
    assert unread(tmp_path, code) == (141, "")


def test_another_pipe_is_no_terminal() -> None:
    def act() -> int:
        raise BrokenPipeError("of a socket")

    with pytest.raises(BrokenPipeError, match="of a socket"):
        command.run(act)


def test_an_ascii_terminal_shows_what_it_can(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        "def act():\n"
        "    print('→ Größe', Path('näme').read_text(), ascii(sorted(p.name for p in Path('.').glob('n*'))))\n"
        "    from pipeline.errors import UserError\n"
        "    raise UserError('nicht schön')\n"
        "sys.exit(command.run(act))\n"
    )
    (tmp_path / "näme").write_text("drin: ü", encoding="utf-8")
    done = run(tmp_path, code, **ASCII)
    assert done.stdout == "\\u2192 Gr\\xf6\\xdfe drin: \\xfc ['n\\xe4me']\n"
    assert (done.returncode, done.stderr) == (2, "\nnicht sch\\xf6n\n\n")


def test_what_is_started_reads_utf8_too(tmp_path: Path) -> None:
    code = "import subprocess\nsubprocess.run([sys.executable, '-c', 'print(open(\"a\").read())'])\n"
    (tmp_path / "a").write_text("ü", encoding="utf-8")
    done = run(tmp_path, code, **ASCII)
    assert (done.stdout, done.stderr) == ("\\xfc\n", "")


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "a.example, localhost"}, "a.example,localhost,127.0.0.1,::1"),
        ({"no_proxy": "b.example", "NO_PROXY": "a.example"}, "b.example,127.0.0.1,localhost,::1"),
        ({"no_proxy": "*"}, "*"),
    ],
)
def test_no_proxy_stands_before_this_machine(
    known: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rest = {name: value for name, value in os.environ.items() if name.lower() != "no_proxy"}
    monkeypatch.setattr(os, "environ", {**rest, **known})
    command.set_up()
    assert os.environ["no_proxy"] == expected
    assert os.environ.get("NO_PROXY", expected) == expected


def test_the_clients_of_our_services_go_past_a_dead_proxy(tmp_path: Path) -> None:
    """httpx is Prefect's, requests MLflow's."""
    code = (
        "import threading, httpx, requests\n"
        "from http.server import HTTPServer, SimpleHTTPRequestHandler as Page\n"
        "Page.log_message = lambda *_: None\n"
        "server = HTTPServer(('127.0.0.1', 0), Page)\n"
        "threading.Thread(target=server.serve_forever, daemon=True).start()\n"
        "address = f'http://127.0.0.1:{server.server_port}'\n"
        "print(httpx.get(address).status_code, requests.get(address).status_code)\n"
    )
    proxies = dict.fromkeys(("http_proxy", "all_proxy", "HTTP_PROXY"), "http://127.0.0.1:9")
    done = run(tmp_path, code, NO_PROXY="", no_proxy="", **proxies)
    assert done.stdout == "200 200\n", done.stderr


def test_a_users_error_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    def act() -> int:
        raise UserError("params.yaml: too low. Raise it.")

    assert command.run(act) == 2
    assert capsys.readouterr().err == "\nparams.yaml: too low. Raise it.\n\n"
