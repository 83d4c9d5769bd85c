"""The command: what it offers, exit codes, and one line for each mistake."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.support.about import version
from tests.support.logtext import ROOT, dynometer, environment, router_text


def complaint_of(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on stderr."""
    assert done.returncode == 2
    assert done.stdout == b""
    [line] = done.stderr.decode().splitlines()
    return line


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str]) -> None:
    done = dynometer(*arguments)

    assert (done.returncode, done.stderr) == (0, b"")
    for command in COMMANDS:
        assert command.help in " ".join(done.stdout.decode().split())


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_explains_itself(name: str) -> None:
    done = dynometer(name, "--help")

    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode().startswith(f"usage: dynometer {name}")


def test_help_does_not_wait_for_what_only_the_service_needs() -> None:
    heavy = {"fastapi", "uvicorn", "redis", "httpx2", "pydantic"}
    run = "import sys; from app.cli.main import main; main([])"
    loaded = f"{run}; sys.exit(len({heavy} & {{*sys.modules}}))"

    done = subprocess.run(
        [sys.executable, "-c", loaded], cwd=ROOT, capture_output=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version_is_printed(arguments: list[str]) -> None:
    assert f"dynometer {version()}\n" == dynometer(*arguments).stdout.decode()


@pytest.mark.parametrize("arguments", [["surve"], ["--surve"], ["report"], ["report", "a", "b"]])
def test_wrong_usage_is_a_mistake_without_traceback(arguments: list[str]) -> None:
    done = dynometer(*arguments)

    assert (done.returncode, done.stdout) == (2, b"")
    assert b"usage: dynometer" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    line = complaint_of(dynometer("report", str(tmp_path / "absent.log")))

    assert f"dynometer: cannot read {tmp_path}/absent.log: No such file or directory" == line


def test_a_wrong_setting_is_one_line() -> None:
    line = complaint_of(dynometer("report", "-", settings={"PORT": "eighty"}))

    assert line.startswith("dynometer: PORT")


def test_a_missing_app_is_one_line() -> None:
    line = complaint_of(dynometer("replay", "-", stdin=router_text().encode()))

    assert "--app NAME" in line


def test_a_missing_store_is_one_line(tmp_path: Path) -> None:
    settings = {"DYNOMETER_DATA_DIR": str(tmp_path)}
    line = complaint_of(dynometer("drains", "list", settings=settings))

    assert "start the service (dynometer serve)" in line


def test_a_data_directory_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = {"DYNOMETER_DATA_DIR": str(tmp_path / "file")}

    line = complaint_of(dynometer("replay", "-", "--app", "shop", settings=settings))

    assert str(tmp_path / "file") in line


def test_output_that_nobody_reads_to_its_end_is_no_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "app.cli", "report", "-"],
        input=router_text().encode(),
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, b"")


def test_ctrl_c_is_no_traceback() -> None:
    with subprocess.Popen(
        [sys.executable, "-u", "-c", INTERRUPTED],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == b"reading\n"
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=30)

    assert (process.returncode, complaints) == (130, b"")


INTERRUPTED = """
import signal
import sys
# A shell lets what runs in the background ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from app.cli import main as cli
from app.traffic import log_input as loglines
from app.cli import report
run = report.run
def begun(**named):
    print("reading")
    return run(**named)
report.run = begun
sys.exit(cli.main(["report", "-"]))
"""
