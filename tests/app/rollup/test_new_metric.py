"""A new metric takes three files: a parser, a row in the dispatch table, a row in the schema.

The test does so on a copy of the source. A child process then counts the metrics, answers queries
and exports them, in both implementations. The compiled modules are copied as they are.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

PARSER = '''
"""Parses memory and starts of splines, an invented kind of lines."""

import re

from parsers.samples import Measurements, ParseError

_MEMORY = re.compile(rb"Spline memory ([0-9]{1,9})M")


def parse_memory(source, text):
    match = _MEMORY.match(text)
    if not match:
        raise ParseError("runtime")
    return Measurements(source, (("spline_memory_bytes", int(match[1])),))


def parse_start(source, text):
    return Measurements(source, (("spline_starts", 1),))
'''

CHILD = """
import asyncio, json, re
from app.rollup.schema import METRICS
from app.storage.memory import MemoryStore
from app.support.compiled import COMPILED
from tests.support.lines import frame, router
from tests.support.service import Clock, client_of, post

async def main():
    clock = Clock()
    body = b"".join([
        router(clock.now_s),
        frame("Spline memory 870M(170.1%)", at_s=clock.now_s),
        frame("Spline memory 850M(166.0%)", at_s=clock.now_s + 1),
        frame("Spline memory 300M(58.6%)", at_s=clock.now_s, procid="worker.1"),
        frame("Spline memory lost", at_s=clock.now_s),
        *[frame("Spline started with command `x`", at_s=clock.now_s)] * 3,
    ])
    results = {"compiled": COMPILED}
    async with client_of(MemoryStore(clock), clock, DYNOMETER_FOLD_BATCHES="3") as client:
        for _ in range(5):  # some of them folded, some not
            answer = await post(client, body)
            assert answer.status_code == 200, answer.text
        query = "/api/v1/apps/shop/query?start=now-1h&step=range&metric="
        for name, rest in {
            "spline_memory_bytes": "&stat=max&stat=last&by=dyno",
            "spline_starts": "&by=process_type",
            "requests": "",
        }.items():
            series = (await client.get(query + name + rest)).json()["series"]
            results[name] = [[*one["labels"].values(), one["values"][0]] for one in series]
        ledger = (await client.get("/api/v1/apps/shop/ledger?start=now-1h")).json()
        results["ledger"] = {name: ledger[name] for name in ("received", "counted", "unparsed")}
        text = (await client.get("/metrics")).text
        results["series"] = re.findall("^heroku_spline.*$", text, re.MULTILINE)
        catalogue = (await client.get("/api/v1/metadata")).text
        results["catalogue"] = "spline_starts" in catalogue
    print(json.dumps(results))

asyncio.run(main())
"""


def insert_before(path: Path, marker: str, text: str) -> None:
    source = path.read_text()
    assert source.count(marker) == 1, marker
    path.write_text(source.replace(marker, text + marker))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the source with two more metrics."""
    copy = tmp_path_factory.mktemp("source")
    for package in ("app", "parsers"):
        ignore = shutil.ignore_patterns("*.c", "__pycache__")
        shutil.copytree(ROOT / package, copy / package, ignore=ignore)
    (copy / "parsers/splines.py").write_text(PARSER)
    dispatch = copy / "parsers/dispatch.py"
    insert_before(
        dispatch,
        '    (b"Cycling", dyno.parse_lifecycle),\n',
        '    (b"Spline memory ", splines.parse_memory),\n'
        '    (b"Spline started ", splines.parse_start),\n',
    )
    insert_before(dispatch, "from parsers.samples", "from parsers import splines\n")
    insert_before(
        copy / "app/rollup/schema.py",
        '        Metric(\n            "dynos",',
        '        gauge("spline_memory_bytes", "bytes", (2**20, 1), "Memory", '
        'series="heroku_spline_memory_bytes"),\n'
        '        counter("spline_starts", "starts", ("process_type", "dyno"), "Starts", '
        '"named_counts", "heroku_spline_starts"),\n',
    )
    return copy


@pytest.mark.parametrize("interpreted", [False, True], ids=["selected", "interpreted"])
def test_three_files_make_a_metric(source: Path, interpreted: bool) -> None:
    environ = {**os.environ, "PYTHONPATH": f"{source}:{ROOT}"}
    if interpreted:
        environ["DYNOMETER_PURE"] = "1"
    command = [sys.executable, "-c", CHILD]
    child = subprocess.run(
        command, cwd=source, env=environ, capture_output=True, text=True, check=False
    )
    assert child.returncode == 0, child.stderr
    results = json.loads(child.stdout)
    assert not (interpreted and results["compiled"])
    assert results["spline_memory_bytes"] == [
        ["web.1", 870 * 2**20],
        ["web.1", 850 * 2**20],
        ["worker.1", 300 * 2**20],
        ["worker.1", 300 * 2**20],
    ]
    assert results["spline_starts"] == [["web", 15]]
    assert results["requests"] == [[5]]
    assert results["ledger"] == {"received": 40, "counted": 35, "unparsed": {"runtime": 5}}
    assert results["series"] == [
        'heroku_spline_memory_bytes{app="shop",process_type="web",dyno="web.1"} 891289600.0',
        'heroku_spline_memory_bytes{app="shop",process_type="worker",dyno="worker.1"} 314572800.0',
        'heroku_spline_starts_total{app="shop",process_type="web"} 15',
    ]
    assert results["catalogue"]
