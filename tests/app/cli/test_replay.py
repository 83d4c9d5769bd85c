"""The command `replay`: the lines that reach the drain, its memory, and its summary."""

from __future__ import annotations

import base64
import json
import re
import signal
import socket
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
import redis

from app.cli.replay import BATCH_BYTES_MAX, BATCH_LINES_MAX, to_frame
from app.config import ConfigError
from app.storage import embedded
from app.traffic.batch_sender import BatchSender, DeliveryError, Target, parse_target
from app.traffic.log_line import LogLine
from app.traffic.sent_lines import SentLines, sent_lines_path
from parsers.framing import Damage, split
from parsers.syslog_header import parse_message
from tests.support.forked_command import ROOT
from tests.support.logtext import (
    AT_S,
    RecordingDrain,
    dynometer,
    environment,
    framed,
    memory_text,
    recording_drain,
    router_text,
    text_line,
)
from tests.support.processes import START_WITHIN_S
from tests.support.servers import wait_until

FRAME = "<158>1 2026-11-22T10:00:00.123456+00:00 host heroku router - at=info status=200\n"
LOST = (
    "<172>1 2026-11-22T10:00:00+00:00 host heroku logplex - Error L10 (output buffer overflow): "
    "2 messages dropped since 2026-11-22T09:59:00+00:00."
)


def replay(
    drain: RecordingDrain | str, data: bytes, *options: str, memory: Path, app: str = "shop"
) -> subprocess.CompletedProcess[bytes]:
    to = drain if isinstance(drain, str) else drain.url
    settings = {"DYNOMETER_DATA_DIR": str(memory)}
    return dynometer(
        "replay", "-", "--app", app, "--to", to, *options, stdin=data, settings=settings
    )


def frames_of(drain: RecordingDrain) -> list[bytes]:
    frames = [frame for body in drain.bodies for frame in split(body)]
    return [frame for frame in frames if not isinstance(frame, Damage)]


def numbered(first: int, count: int) -> list[str]:
    return [router_text(at=AT_S + number) for number in range(first, first + count)]


def test_text_lines_arrive_to_frames_of_a_drain(tmp_path: Path) -> None:
    application = text_line("app[web.1]", "hello wörld", at=AT_S + 1.5)
    with recording_drain() as drain:
        result = replay(drain, (router_text() + application).encode(), memory=tmp_path)

    assert result.returncode == 0, result.stderr
    router, output = frames_of(drain)
    request = router_text().split(": ", 1)[1]
    assert f"<134>1 2026-11-22T10:00:00.000+00:00 host heroku router - {request}" == router.decode()
    assert output.decode() == "<190>1 2026-11-22T10:00:01.500+00:00 host app web.1 - hello wörld\n"


def test_batches_carry_the_headers_of_a_replay(tmp_path: Path) -> None:
    with recording_drain() as drain:
        replay(drain, "".join(numbered(0, 3)).encode(), memory=tmp_path)

    [headers] = drain.headers
    assert drain.paths == ["/drain"]
    assert headers["Logplex-Msg-Count"] == "3"
    assert headers["Dynometer-Replay"] == "1"
    assert re.fullmatch(r"[0-9A-F]{32}", headers["Logplex-Frame-Id"])
    assert headers["Content-Type"] == "application/logplex-1"
    assert base64.b64decode(headers["Authorization"].removeprefix("Basic ")).startswith(b"shop:")
    assert "Logplex-Drain-Token" not in headers


def test_frames_of_a_body_are_forwarded_verbatim(tmp_path: Path) -> None:
    body = framed(LOST, FRAME, "<158>1 no header here\n")
    with recording_drain() as drain:
        replay(drain, body, memory=tmp_path)

    assert [body] == drain.bodies


def test_unreadable_lines_stay_unreadable_for_the_service(tmp_path: Path) -> None:
    router_line = b"<158>1 2026-11-22T10:00:00+00:00 host nginx router - at=info status=200\n"
    log = b"prose to begin with\n" + router_line + router_text().encode() * 2
    with recording_drain() as drain:
        result = replay(drain, log, memory=tmp_path)

    assert len(frames_of(drain)) == 4
    for frame in frames_of(drain)[:2]:
        with pytest.raises(ValueError, match="timestamp"):
            parse_message(frame)
    assert b"Not understood  2" in result.stdout


def test_batches_are_bounded_in_lines_and_bytes(tmp_path: Path) -> None:
    short = "".join(text_line("app[web.1]", f"{n}") for n in range(1_200)).encode()
    long = "".join(text_line("app[web.1]", f"{n} {'z' * 9_000}") for n in range(30)).encode()
    with recording_drain() as drain:
        replay(drain, short + long, memory=tmp_path)

    counts = [int(headers["Logplex-Msg-Count"]) for headers in drain.headers]
    assert sum(counts) == 1_230
    assert counts[:2] == [BATCH_LINES_MAX] * 2
    assert max(counts) == BATCH_LINES_MAX
    assert max(map(len, drain.bodies)) <= BATCH_BYTES_MAX


def test_overlapping_inputs_send_every_line_once(tmp_path: Path) -> None:
    with recording_drain() as drain:
        replay(drain, "".join(numbered(0, 30)).encode(), memory=tmp_path)
        result = replay(drain, "".join(numbered(20, 30)).encode(), memory=tmp_path)

    assert [b"%d" % len(list(split(body))) for body in drain.bodies] == [b"30", b"20"]
    assert b"30 read, 20 sent, 10 skipped (already sent" in result.stdout


def test_equal_lines_count_as_often_as_they_occur(tmp_path: Path) -> None:
    line = router_text()
    with recording_drain() as drain:
        for occurrences in (2, 2, 5):
            replay(drain, (line * occurrences).encode(), memory=tmp_path)

    assert [len(list(split(body))) for body in drain.bodies] == [2, 3]


def test_equal_batches_of_one_input_have_different_frame_ids(tmp_path: Path) -> None:
    with recording_drain() as drain:
        replay(drain, router_text().encode() * BATCH_LINES_MAX * 2, memory=tmp_path)

    assert len(drain.bodies) == len({headers["Logplex-Frame-Id"] for headers in drain.headers})


def test_the_same_input_has_the_same_frame_ids_when_nothing_is_remembered(tmp_path: Path) -> None:
    with recording_drain() as drain:
        for memory in ("one", "two"):
            replay(drain, router_text().encode(), memory=tmp_path / memory)

    assert len(drain.headers) == 2
    assert len({headers["Logplex-Frame-Id"] for headers in drain.headers}) == 1


def test_again_sends_everything_as_new(tmp_path: Path) -> None:
    with recording_drain() as drain:
        replay(drain, router_text().encode(), memory=tmp_path)
        replay(drain, router_text().encode(), "--again", memory=tmp_path)
        replay(drain, router_text().encode(), memory=tmp_path)

    assert len({headers["Logplex-Frame-Id"] for headers in drain.headers}) == 2
    assert len(drain.bodies) == 2


def test_the_memory_is_kept_per_service(tmp_path: Path) -> None:
    with recording_drain() as first, recording_drain() as second:
        replay(first, router_text().encode(), memory=tmp_path)
        replay(second, router_text().encode(), memory=tmp_path)

    assert (len(first.bodies), len(second.bodies)) == (1, 1)


def test_a_rejected_batch_is_not_remembered(tmp_path: Path) -> None:
    with recording_drain(401) as drain:
        first = replay(drain, router_text().encode(), memory=tmp_path)
        second = replay(drain, router_text().encode(), memory=tmp_path)

    assert first.returncode == 1
    assert b"rejected the lines: it answered 401" in first.stderr
    assert b"1 NOT DELIVERED" in first.stdout
    assert b"1 read, 1 sent" in second.stdout


def test_a_batch_is_tried_again_under_the_same_frame_id(tmp_path: Path) -> None:
    with (
        recording_drain(503, 500, 429) as drain,
        BatchSender(target_of(drain), [0, 0, 0]) as sender,
    ):
        sender.send([b"1 a"], "F00D")

    assert [headers["Logplex-Frame-Id"] for headers in drain.headers] == ["F00D"] * 4
    assert drain.bodies == [b"1 a"] * 4


def test_an_unavailable_service_is_given_up_after_the_last_retry(tmp_path: Path) -> None:
    with (
        recording_drain(503, 503, 503) as drain,
        BatchSender(target_of(drain), [0, 0]) as sender,
        pytest.raises(DeliveryError, match="it answered 503"),
    ):
        sender.send([b"1 a"], "F00D")

    assert len(drain.bodies) == 3


def test_a_service_that_is_not_running_is_reported_immediately(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    result = replay(address, router_text().encode(), memory=tmp_path)

    assert result.returncode == 1
    assert f"no service at {address}. Start it with dynometer serve".encode() in result.stderr
    assert b"Traceback" not in result.stderr


def test_shift_to_now_moves_the_last_line_to_now(tmp_path: Path) -> None:
    year_ago = time.time() - 365 * 86_400
    log = router_text(at=year_ago) + router_text(at=year_ago + 60)
    before_ms = int(time.time() * 1000)
    with recording_drain() as drain:
        result = replay(drain, log.encode(), "--shift-to-now", memory=tmp_path)

    first, last = (parse_message(frame).at_ms for frame in frames_of(drain))
    assert last - first == 60_000
    assert before_ms <= last <= int(time.time() * 1000)
    assert b"Too old" not in result.stdout


@pytest.mark.parametrize("form", ["text", "body"])
def test_shift_to_now_reads_a_file_twice(tmp_path: Path, form: str) -> None:
    path = tmp_path / "sample.log"
    path.write_bytes(router_text().encode() if form == "text" else framed(FRAME, LOST, "junk\n"))
    before_ms = int(time.time() * 1000)
    with recording_drain() as drain:
        result = dynometer(
            *("replay", str(path), "--app", "shop", "--to", drain.url, "--shift-to-now"),
            settings={"DYNOMETER_DATA_DIR": str(tmp_path)},
        )

    assert result.returncode == 0, result.stderr
    assert before_ms <= parse_message(frames_of(drain)[0]).at_ms


def test_shifted_lines_are_not_remembered(tmp_path: Path) -> None:
    with recording_drain() as drain:
        replay(drain, router_text().encode(), "--shift-to-now", memory=tmp_path)
        result = replay(drain, router_text().encode(), memory=tmp_path)

    assert b"1 read, 1 sent, 0 skipped" in result.stdout


def test_summary_counts_lines_by_kind(tmp_path: Path) -> None:
    now = time.time()
    log = "".join(
        [
            router_text(at=now - 60),
            memory_text(at=now - 50),
            text_line("heroku[web.1]", "Error R14 (Memory quota exceeded)", at=now - 40),
            text_line("heroku[web.1]", "State changed from starting to up", at=now - 30),
            text_line("app[web.1]", "hello", at=now - 20),
            text_line("heroku[router]", "at=info nonsense", at=now - 10),
            router_text(at=now - 8 * 86_400),
            "prose\n",
        ]
    )
    with recording_drain() as drain:
        stdout = replay(drain, log.encode(), memory=tmp_path).stdout.decode()

    assert "8 read, 8 sent, 0 skipped" in stdout
    assert "Counted         4: 1 requests, 1 runtime metrics, 1 error lines, 1 state" in stdout
    assert "Ignored         1" in stdout
    assert "Not understood  2" in stdout
    assert re.search(r"1 router: a router line without", stdout)
    assert "Too old         1" in stdout
    assert "no runtime metrics" not in stdout
    assert "The service gives no account of replayed lines." in stdout


def test_summary_gives_the_addresses_of_exactly_the_range(tmp_path: Path) -> None:
    now = int(time.time())
    log = router_text(at=now - 90.5) + router_text(at=now - 30) + router_text(at=now - 9e6)
    with recording_drain() as drain:
        stdout = replay(drain, log.encode(), memory=tmp_path).stdout.decode()

    def iso(at: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))

    time_range = f"start={iso(now - 91)}&end={iso(now - 29)}"
    assert f"See             {drain.url}/apps/shop?{time_range}\n" in stdout
    query = "query?metric=service_time_ms&stat=p50&stat=p95"
    assert f"{drain.url}/api/v1/apps/shop/{query}&{time_range}\n" in stdout


def test_summary_has_the_commands_that_enable_runtime_metrics(tmp_path: Path) -> None:
    with recording_drain() as drain:
        log = router_text(at=time.time()).encode()
        stdout = replay(drain, log, memory=tmp_path).stdout.decode()

    assert "no runtime metrics:" in stdout
    assert "heroku labs:enable log-runtime-metrics -a shop" in stdout
    assert "heroku restart -a shop" in stdout


def test_what_is_no_log_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    log = tmp_path / "shop.log"
    log.write_text(router_text())
    other = tmp_path / "access.log"
    other.write_text('192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 512\n')
    with recording_drain() as drain:
        for paths in ([str(other)], [str(log), str(other)]):
            result = dynometer(
                *("replay", *paths, "--app", "shop", "--to", drain.url),
                settings={"DYNOMETER_DATA_DIR": str(tmp_path)},
            )
            assert (result.returncode, result.stdout) == (1, b"")
            assert b"access.log is not a log of Heroku's" in result.stderr
            assert b'  192.0.2.1 - - [22/Nov/2026:10:00:00 +0000] "GET /' in result.stderr

    assert drain.bodies == []


def test_files_that_overlap_are_sent_once(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.log", "two.log")]
    paths[0].write_text("".join(numbered(0, 30)))
    paths[1].write_bytes("".join(f"12:{line}" for line in numbered(20, 30)).encode("utf-16"))
    with recording_drain() as drain:
        result = dynometer(
            *("replay", *map(str, paths), "--app", "shop", "--to", drain.url),
            settings={"DYNOMETER_DATA_DIR": str(tmp_path)},
        )

    assert len(frames_of(drain)) == 50
    lines = result.stdout.decode().splitlines()
    assert lines[:2] == [
        "Form            heroku logs (1 file)",
        "Form            heroku logs, with a prefix, UTF-16 (1 file)",
    ]
    assert "60 read, 50 sent, 10 skipped" in lines[2]


def forms_of(lines: Sequence[str]) -> dict[str, bytes]:
    """These router lines in several forms."""
    parts = [line.rstrip().split(" heroku[router]: ") for line in lines]
    frames = [f"<158>1 {time} host heroku router - {text}\n" for time, text in parts]
    source = {"appname": "heroku", "procid": "router"}
    objects = [{"dt": time, "message": text, "syslog": source} for time, text in parts]
    return {
        "text": "".join(lines).encode(),
        "frames": framed(*frames),
        "syslog": "".join(frames).encode(),
        "json": "".join(f"{json.dumps(entry)}\n" for entry in objects).encode(),
    }


@pytest.mark.parametrize("second_form", ["text", "frames", "syslog", "json"])
@pytest.mark.parametrize("first_form", ["text", "frames", "syslog", "json"])
def test_files_that_overlap_in_different_forms_are_sent_once(
    tmp_path: Path, first_form: str, second_form: str
) -> None:
    """Together and in two runs. Equal lines count as often as the file with most of them says."""
    first, second = numbered(0, 4) + numbered(3, 1), numbered(3, 1) * 3 + numbered(4, 2)
    paths = [str(tmp_path / name) for name in ("one", "two")]
    Path(paths[0]).write_bytes(forms_of(first)[first_form])
    Path(paths[1]).write_bytes(forms_of(second)[second_form])
    for runs in ([paths], [[paths[0]], [paths[1]]]):
        with recording_drain() as drain:
            for files in runs:
                dynometer(
                    *("replay", *files, "--app", "shop", "--to", drain.url),
                    settings={"DYNOMETER_DATA_DIR": str(tmp_path / str(len(runs)))},
                )

        assert len(frames_of(drain)) == len(first) + 3


def test_empty_input_is_named_as_such(tmp_path: Path) -> None:
    with recording_drain() as drain:
        result = replay(drain, b"", memory=tmp_path)

    assert (result.returncode, drain.bodies) == (0, [])
    assert b"The input is empty" in result.stdout


def live_replay(drain: RecordingDrain, memory: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "app.cli", "replay", "-", "--app", "shop", "--to", drain.url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        env=environment(DYNOMETER_DATA_DIR=str(memory)),
    )


def test_live_lines_are_sent_while_the_input_goes_on(tmp_path: Path) -> None:
    with recording_drain() as drain, live_replay(drain, tmp_path) as process:
        assert process.stdin
        for count in (1, 2):
            process.stdin.write(router_text(at=AT_S + count).encode())
            process.stdin.flush()
            drain.wait_for_bodies(count)
        stdout, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert b"2 read, 2 sent" in stdout


def test_ctrl_c_ends_a_live_input_with_the_summary(tmp_path: Path) -> None:
    with recording_drain() as drain, live_replay(drain, tmp_path) as process:
        assert process.stdin
        process.stdin.write(router_text().encode())
        process.stdin.flush()
        drain.wait_for_bodies(1)
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)  # before its input ends, which would end it too
        stdout, stderr = process.communicate()

    assert process.returncode == 130
    assert b"1 read, 1 sent" in stdout
    assert stderr == b""


def target_of(drain: RecordingDrain) -> Target:
    return parse_target(drain.url, "shop", 0)


@pytest.mark.parametrize(
    ("to", "app", "target"),
    [
        (None, "shop", Target("http://127.0.0.1:8080", "shop", "replay")),
        ("http://localhost:9000/", "shop", Target("http://localhost:9000", "shop", "replay")),
        ("https://shop:s3-_@m.example/drain", None, Target("https://m.example", "shop", "s3-_")),
        ("https://shop:x@m.example", "shop", Target("https://m.example", "shop", "x")),
        ("http://[::1]:80", "shop", Target("http://[::1]:80", "shop", "replay")),
    ],
)
def test_an_address_may_carry_app_and_secret(
    to: str | None, app: str | None, target: Target
) -> None:
    assert target == parse_target(to, app, 8080)


@pytest.mark.parametrize(
    ("to", "app", "message"),
    [
        (None, None, "--app NAME"),
        ("ftp://m.example", "shop", "expected http"),
        ("m.example", "shop", "expected http"),
        ("http://m.example:port", "shop", "expected http"),
        ("http://m exa mple", "shop", "expected http"),
        ("http://m..example", "shop", "expected http"),
        ("http://shop:x@m.example", "other", "Use the same app"),
        (None, "No App", "not an app's name"),
    ],
)
def test_a_wrong_address_or_app_is_explained(to: str | None, app: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_target(to, app, 8080)


def test_a_time_before_1970_can_be_framed() -> None:
    frame = b"<158>1 0001-01-01T00:00:00+00:00 host heroku router - at=info"
    line = LogLine(frame, True, parse_message(frame))

    assert b" 1970-01-01T00:00:00.000+00:00 " in to_frame(line, 1_000)


@contextmanager
def running_service(data_dir: Path) -> Iterator[str]:
    """The address of the real service, with a store of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    settings = {"PORT": str(port), "DYNOMETER_DATA_DIR": str(data_dir)}
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(
        [sys.executable, "-m", "app.cli", "serve"],
        cwd=ROOT,
        env=environment(**settings),
        stdout=subprocess.DEVNULL,
    ) as process:
        try:
            wait_until(lambda: process.poll() is not None or ready(url), START_WITHIN_S)
            assert process.poll() is None, "the service ended"
            yield url
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service. All tests use it, each with an `app` of its own."""
    with running_service(tmp_path_factory.mktemp("service")) as url:
        yield url


@pytest.fixture
def app() -> str:
    """The name of an app that no other test uses."""
    return f"shop-{uuid.uuid4().hex[:12]}"


def ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", trust_env=False).is_success
    except httpx2.TransportError:
        return False


def test_one_store_reached_by_two_spellings_of_its_address_counts_a_line_once(
    service: str, app: str, tmp_path: Path
) -> None:
    log = "".join(router_text(at=time.time() - number) for number in range(10)).encode()

    first = replay(service, log, memory=tmp_path, app=app)
    second = replay(service.replace("127.0.0.1", "localhost"), log, memory=tmp_path, app=app)

    assert b"10 read, 10 sent, 0 skipped" in first.stdout
    assert b"10 read, 0 sent, 10 skipped" in second.stdout
    pages = [re.search(rf"/apps/{app}\?\S+", run.stdout.decode()) for run in (first, second)]
    assert pages[0] and pages[1] and pages[0][0] == pages[1][0]


def test_a_store_that_was_emptied_is_replayed_in_full(tmp_path: Path) -> None:
    log = "".join(router_text(at=time.time() - number) for number in range(10)).encode()
    with running_service(tmp_path) as service:
        replay(service, log, memory=tmp_path)
        url = embedded.find_running(tmp_path)
        assert url
        with redis.from_url(url) as client:
            client.flushall()

        assert b"10 read, 10 sent, 0 skipped" in replay(service, log, memory=tmp_path).stdout
        assert b"10 read, 0 sent, 10 skipped" in replay(service, log, memory=tmp_path).stdout


def test_lines_sent_before_the_service_told_its_store_are_still_remembered(
    service: str, app: str, tmp_path: Path
) -> None:
    log = "".join(router_text(at=time.time() - number) for number in range(10)).encode()
    keys = SentLines(sent_lines_path(tmp_path / "replay", app, service, ""))
    keys.add([keys.next_keys(line, line)[1] for line in log.splitlines()[:4]])

    assert b"10 read, 6 sent, 4 skipped" in replay(service, log, memory=tmp_path, app=app).stdout


@pytest.mark.parametrize(
    "answer",
    [b"ok", b"\xff", b"[]", b'{"store": {}}', b'{"store": {"identity": {"id": "../../shop"}}}'],
)
def test_a_service_that_does_not_tell_its_store_is_known_by_its_address(
    tmp_path: Path, answer: bytes
) -> None:
    with recording_drain() as drain:
        drain.readiness = answer
        replay(drain, router_text().encode(), memory=tmp_path)
        replay(drain, router_text().encode(), memory=tmp_path)

    assert len(drain.bodies) == 1
    (path,) = (tmp_path / "replay").iterdir()
    assert re.fullmatch(r"shop-[0-9a-f]{16}", path.name)


def test_the_summary_is_the_account_of_the_service(service: str, app: str, tmp_path: Path) -> None:
    now = time.time()
    log = [
        *(router_text(at=now - 60, status=503, code="H12") for _ in range(3)),
        router_text(at=now - 60),
        text_line("heroku[web.1]", "Error R14 (Memory quota exceeded)", at=now - 40),
        memory_text(at=now - 40),
        text_line("app[web.1]", "hello", at=now),
        router_text(at=now - 8 * 86_400),
        router_text(at=now + 3600),
        router_text(at=now + 3600),
        "prose\n",
    ]

    stdout = replay(service, "".join(log).encode(), memory=tmp_path, app=app).stdout.decode()

    results = {line[:16].strip(): line[16:] for line in stdout.splitlines()}
    assert results["Lines"] == "11 read, 11 sent, 0 skipped"
    assert results["Counted"] == "6: 4 requests, 1 runtime metrics, 1 error lines"
    assert results["with errors"] == "3 H12 (Request timeout), 1 R14 (Memory quota exceeded)"
    numbers = {name: int(results[name].split()[0]) for name in ("Ignored", "Too old", "Too new")}
    assert numbers == {"Ignored": 1, "Too old": 1, "Too new": 2}
    assert results["Not understood"] == "1"
    assert "gives no account" not in stdout
    url = f"{service}/api/v1/apps/{app}/ledger?start=now-1h&end=now%2B1m"
    ledger = httpx2.get(url, trust_env=False).json()
    assert (ledger["received"], ledger["counted"], ledger["too_new"]) == (11, 6, 2)


@pytest.mark.parametrize(
    ("age_s", "reason"),
    [(-3600, "lie in the future"), (8 * 86_400, "are over 7 days old")],
)
def test_a_summary_says_why_nothing_was_counted(
    service: str, app: str, tmp_path: Path, age_s: int, reason: str
) -> None:
    at_s = time.time() - age_s
    log = (router_text(at=at_s) * 3).encode()
    ignored = text_line("app[web.1]", "hello", at=at_s).encode()

    stdout = replay(service, log, memory=tmp_path, app=app).stdout.decode()
    more = replay(service, log * 2 + ignored, memory=tmp_path, app=app).stdout.decode()

    assert f"Counted         0: all lines {reason}\n" in stdout
    assert f"Counted         0: all lines with a metric {reason}\n" in more
    assert "See " not in stdout


def test_a_shifted_file_of_more_than_7_days_says_what_lies_too_far_back(
    service: str, app: str, tmp_path: Path
) -> None:
    old = [router_text(at=AT_S - days * 86_400) for days in (20, 9, 8)]
    last = text_line("app[web.1]", "hello", at=AT_S)

    def summary(*lines: str) -> str:
        log = "".join(lines).encode()
        return replay(service, log, "--shift-to-now", memory=tmp_path, app=app).stdout.decode()

    stdout = summary(*old, router_text(at=AT_S))
    assert "Too old         3 (over 7 days before the last line)\n" in stdout
    assert "moves them" not in stdout
    lie_back = "Counted         0: all lines with a metric lie over 7 days before the last line\n"
    assert lie_back in summary(*old, last)


def test_a_batch_that_was_stored_but_not_remembered_is_told_as_duplicate(
    service: str, app: str, tmp_path: Path
) -> None:
    log = (router_text(at=time.time()) * 3).encode()
    replay(service, log, memory=tmp_path / "one", app=app)

    stdout = replay(service, log, memory=tmp_path / "two", app=app).stdout.decode()

    assert "Counted         0: all lines had been counted before" in stdout
    assert "Duplicate       3 " in stdout


@pytest.mark.parametrize(("options", "notifies"), [((), False), (("--alert",), True)])
def test_a_replayed_app_is_marked_until_a_drain_delivers(
    service: str, app: str, tmp_path: Path, options: Sequence[str], notifies: bool
) -> None:
    def origin() -> tuple[str, bool]:
        apps = httpx2.get(f"{service}/api/v1/apps", trust_env=False).json()["apps"]
        [entry] = [entry for entry in apps if entry["app"] == app]
        return entry["origin"], entry["notifies"]

    replay(service, router_text(at=time.time()).encode(), *options, memory=tmp_path, app=app)
    assert origin() == ("replay", notifies)
    page = httpx2.get(f"{service}/apps/{app}", trust_env=False).text
    assert "These lines come from a replay, not from a log drain." in page

    body = framed(FRAME)
    httpx2.post(f"{service}/drain", content=body, auth=(app, "any"), trust_env=False)
    replay(service, router_text(at=time.time()).encode(), *options, memory=tmp_path, app=app)
    assert origin() == ("drain", True)


def test_replayed_lines_are_what_the_service_answers(
    service: str, app: str, tmp_path: Path
) -> None:
    now = time.time()
    times_ms = [(number * 37) % 1_000 for number in range(1_200)]
    requests = [
        router_text(at=now - 5 * 86_400 + number, service=f"{time_ms}ms")
        for number, time_ms in enumerate(times_ms)
    ]
    log = "".join([*requests, *requests[:5], memory_text(at=now), "prose\n"]).encode()

    for _ in range(2):
        assert replay(service, log, memory=tmp_path, app=app).returncode == 0

    api = f"{service}/api/v1/apps/{app}"
    ledger = httpx2.get(f"{api}/ledger?start=now-1h&end=now%2B1m", trust_env=False).json()
    assert (ledger["received"], ledger["counted"]) == (1_207, 1_206)
    assert (ledger["promised"], ledger["duplicate"]) == (1_207, 0)
    assert ledger["unparsed"] == {"timestamp": 1}
    stdout = replay(service, log, "--again", memory=tmp_path, app=app).stdout.decode()
    [address] = re.findall(r"http://\S+/query\?\S+", stdout)
    answer = httpx2.get(f"{address}&step=range&stat=count&stat=max", trust_env=False).json()
    values = {series["stat"]: series["values"] for series in answer["series"]}
    assert values["count"] == [2 * 1_205]
    assert [max(times_ms)] == values["max"]
    assert values["p50"] == [pytest.approx(statistics.median_low(times_ms), rel=0.02)]
