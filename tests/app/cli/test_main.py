"""The command: its help, its exit codes, and one line for each error."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from app.cli.main import COMMANDS
from app.support.about import version
from tests.support.forked_command import ROOT
from tests.support.logtext import dynometer, environment, router_text, started_dynometer


def error_line_of(result: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on stderr."""
    assert result.returncode == 2
    assert result.stdout == b""
    [line] = result.stderr.decode().splitlines()
    return line


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_every_command(arguments: list[str]) -> None:
    result = started_dynometer(*arguments)

    assert (result.returncode, result.stderr) == (0, b"")
    for command in COMMANDS:
        assert command.help in " ".join(result.stdout.decode().split())


@pytest.mark.parametrize("name", [command.name for command in COMMANDS])
def test_every_command_has_help(name: str) -> None:
    result = started_dynometer(name, "--help")

    assert (result.returncode, result.stderr) == (0, b"")
    assert result.stdout.decode().startswith(f"usage: dynometer {name}")


def test_help_does_not_import_what_only_the_service_needs() -> None:
    heavy = {"fastapi", "uvicorn", "redis", "httpx2", "pydantic"}
    run = "import sys; from app.cli.main import main; main([])"
    program = f"{run}; sys.exit(len({heavy} & {{*sys.modules}}))"

    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False
    )

    assert (result.returncode, result.stderr) == (0, b"")


@pytest.mark.parametrize("arguments", [["version"], ["--version"]])
def test_version_is_printed(arguments: list[str]) -> None:
    assert f"dynometer {version()}\n" == dynometer(*arguments).stdout.decode()


@pytest.mark.parametrize("arguments", [["surve"], ["--surve"], ["report"], ["report", "a", "--b"]])
def test_wrong_usage_is_an_error_without_traceback(arguments: list[str]) -> None:
    result = dynometer(*arguments)

    assert (result.returncode, result.stdout) == (2, b"")
    assert b"usage: dynometer" in result.stderr
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "suggestion"),
    [
        (["surve"], "Did you mean serve?"),
        (["serve", "--prot", "80"], "Did you mean --port?"),
        (["alerts", "channel", "lsit"], "Did you mean list?"),
        (["alerts", "add", "x", "--metrik=y"], "Did you mean --metric?"),
    ],
)
def test_a_typing_error_is_answered_with_what_was_meant(
    arguments: list[str], suggestion: str
) -> None:
    result = dynometer(*arguments)

    assert result.returncode == 2
    assert suggestion in result.stderr.decode()


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    line = error_line_of(dynometer("report", str(tmp_path / "absent.log")))

    assert f"dynometer: cannot read {tmp_path}/absent.log: No such file or directory" == line


def test_a_wrong_setting_is_one_line() -> None:
    line = error_line_of(dynometer("report", "-", settings={"PORT": "eighty"}))

    assert line.startswith("dynometer: PORT")


def test_a_missing_app_is_one_line() -> None:
    line = error_line_of(dynometer("replay", "-", stdin=router_text().encode()))

    assert "--app NAME" in line


def test_a_missing_store_is_one_line(tmp_path: Path) -> None:
    settings = {"DYNOMETER_DATA_DIR": str(tmp_path)}
    line = error_line_of(dynometer("drains", "list", settings=settings))

    assert "start the service (dynometer serve)" in line


def test_an_unwritable_data_directory_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = {"DYNOMETER_DATA_DIR": str(tmp_path / "file")}

    line = error_line_of(dynometer("replay", "-", "--app", "shop", settings=settings))

    assert str(tmp_path / "file") in line


def test_output_that_is_not_read_to_its_end_is_not_an_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [sys.executable, "-m", "app.cli", "report", "-"],
        input=router_text().encode(),
        stdout=writing,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(),
        check=False,
    )
    os.close(writing)

    assert (result.returncode, result.stderr) == (141, b"")


def test_ctrl_c_shows_no_traceback() -> None:
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
        _, stderr = process.communicate(timeout=30)

    assert (process.returncode, stderr) == (130, b"")


INTERRUPTED = """
import signal
import sys
# A shell lets background processes ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from app.cli import main as cli
from app.traffic import log_input as loglines
from app.cli import report
run = report.run
def announce(**arguments):
    print("reading")
    return run(**arguments)
report.run = announce
sys.exit(cli.main(["report", "-"]))
"""
