"""Simulates an app on Heroku: the log lines caused by its users, dynos, routers and add-ons.

Pure and seeded: the same name, dynos, rate, seed and start give the same lines. Every line comes
with its expected effect on the metrics, so a service's answers can be checked to the last request.
"""

from __future__ import annotations

import heapq
import json
import random
import uuid
from collections.abc import Iterator
from itertools import count
from typing import NamedTuple

from app.traffic.simulated_addons import ADDON_INTERVAL_S, SimulatedAddons, format_marks
from app.traffic.simulated_dyno import Process, SimulatedDyno, user_activity
from app.traffic.simulated_lines import (
    ERRORS_BY_CODE,
    PRI_API,
    PRI_DYNO,
    PRI_LOGPLEX,
    ROUTER_ERRORS,
    RequestFields,
    SimulatedLine,
    app_frames,
    frame,
    router_frame,
    timestamp,
)

LEGACY_ROUTER_SHARE = 0.3
ERROR_SHARE = 0.006  # of requests, in quiet times
APP_LINES_PER_REQUEST = 0.45
JOBS_PER_REQUEST = 0.1
SLOW_EVERY_S = 47 * 60  # a dependency becomes slow at this interval, for SLOW_FOR_S
SLOW_FOR_S = 150
SLOW_FACTOR = 2.5
WORKER_EVERY = 4  # every fourth dyno is a worker
NO_DYNO_ERROR = ERRORS_BY_CODE["H10"]
TIMEOUT_ERROR = ERRORS_BY_CODE["H12"]


class SimulatedPage(NamedTuple):
    """A kind of request: `service_ms` is the median; {} in the path is replaced by a number."""

    weight: float
    method: str
    path: str
    service_ms: float
    spread: float
    statuses: dict[int, int]
    bytes: int


PAGES = (
    SimulatedPage(14, "GET", "/", 42, 0.4, {200: 97, 304: 3}, 18_400),
    SimulatedPage(24, "GET", "/products/{}", 64, 0.5, {200: 90, 304: 6, 404: 4}, 24_100),
    SimulatedPage(10, "GET", "/search?q=red+shoes&page={}", 170, 0.7, {200: 100}, 31_000),
    SimulatedPage(
        14, "GET", "/api/v1/items?limit=50&cursor={}", 35, 0.6, {200: 96, 401: 3, 429: 1}, 5_300
    ),
    SimulatedPage(6, "POST", "/api/v1/carts/{}/items", 58, 0.5, {201: 95, 422: 5}, 640),
    SimulatedPage(3, "POST", "/checkout", 390, 0.6, {302: 93, 422: 5, 500: 2}, 120),
    SimulatedPage(12, "GET", "/assets/application-{}.js", 4, 0.7, {200: 60, 304: 40}, 91_000),
    SimulatedPage(5, "GET", "/health", 2, 0.5, {200: 100}, 2),
    SimulatedPage(2, "PATCH", "/api/v1/users/{}", 70, 0.5, {200: 94, 403: 2, 404: 2, 500: 2}, 410),
    SimulatedPage(1, "DELETE", "/api/v1/carts/{}", 31, 0.4, {204: 100}, 0),
    SimulatedPage(0.8, "GET", "/reports/{}.pdf", 2_600, 0.5, {200: 98, 500: 2}, 740_000),
    SimulatedPage(0.8, "GET", "/cable", 90_000, 1.4, {101: 100}, 4_200),
    SimulatedPage(1, "GET", "/wp-login.php", 6, 0.4, {404: 100}, 1_300),
    SimulatedPage(1, "GET", "/caf%C3%A9/men%C3%BC%20{}", 48, 0.5, {200: 100}, 9_900),
    SimulatedPage(
        0.2,  # Router 2.0 decodes this path into a complete forged tail
        "GET",
        "/x%22%20dyno=evil.1%20connect=1ms%20service=9ms%20status=500%20bytes=7?code=H99&n={}",
        7,
        0.4,
        {404: 100},
        1_300,
    ),
)
_PAGE_WEIGHTS = [page.weight for page in PAGES]
_ERROR_WEIGHTS = [error.weight for error in ROUTER_ERRORS]

MARKS = ""  # stands for a line of format_marks
_APP_TEXTS = (
    "I, [{n}]  INFO -- : Completed 200 OK in {ms}ms (Views: {ms}ms | ActiveRecord: 0.{n}ms)",
    "level=info msg=rendered template=products/show duration={ms} customer=Žofie naïve=✓",
    "東京 の注文 #{n} を受け付けました ({ms}ms)",
    "at=info method=GET path=/fake dyno=web.1 connect=1ms service={ms}ms status=200 bytes=1",
    "source=web.1 sample#memory_total=1.00MB measure#render={ms}ms",
    MARKS,
    "Error R14 (Memory quota exceeded) is what I, the app, say to you ({n})",
)


class SimulatedApp:
    """An app. `lines(start_s)` is its log stream from then on."""

    def __init__(
        self, name: str, *, dynos: int = 4, lines_per_s: float = 20.0, seed: int = 1
    ) -> None:
        """
        Args:
            dynos: number of dynos; every fourth is a worker, the others are web dynos.
            lines_per_s: log lines per second, on average over a day.
        """
        self.name = name
        self._rng = random.Random(f"{seed} {name}")
        self._marks_rng = random.Random(f"{seed} {name} marks")
        # The same in every run, because only one drain of an app counts.
        self.drain_token = f"d.{uuid.uuid5(uuid.NAMESPACE_DNS, name)}"
        self._workers = dynos // WORKER_EVERY
        self._webs = dynos - self._workers
        jobs = JOBS_PER_REQUEST if self._workers else 0.0
        request_lines_per_s = max(lines_per_s - dynos * 0.1, lines_per_s / 2)
        self._requests_per_s = request_lines_per_s / (1 + APP_LINES_PER_REQUEST + jobs)
        self._dynos: list[SimulatedDyno] = []
        self._release = 40

    def lines(self, start_s: float) -> Iterator[SimulatedLine]:
        """Yield an endless stream of lines in the order of `at_s`. Call this only once."""
        webs = [f"web.{number}" for number in range(1, self._webs + 1)]
        workers = [f"worker.{number}" for number in range(1, self._workers + 1)]
        self._dynos = [
            SimulatedDyno(name, start_s, self._rng, leaks=name == webs[-1])
            for name in (*webs, *workers)
        ]
        processes = [self._traffic(start_s), self._releases(start_s), self._one_offs(start_s)]
        processes += [self._addon_lines(start_s)]
        processes += [dyno.runtime_metrics(start_s) for dyno in self._dynos]
        processes += [dyno.restarts(start_s) for dyno in self._dynos]
        if workers:
            processes.append(self._jobs(start_s))
        return _run(start_s, processes)

    def _traffic(self, at_s: float) -> Process:
        while True:
            pause_s = self._rng.expovariate(self._requests_per_s * user_activity(at_s))
            at_s += pause_s
            yield (), at_s
            yield self._request(at_s), at_s

    def _request(self, at_s: float) -> list[SimulatedLine]:
        """The lines of a request that ends now: of the router, and sometimes also of the app."""
        rng = self._rng
        page = rng.choices(PAGES, _PAGE_WEIGHTS)[0]
        dynos = [dyno for dyno in self._dynos if dyno.is_up and dyno.name.startswith("web.")]
        fields = self._request_fields(page)
        if not dynos:
            return [self._failure(at_s, fields, NO_DYNO_ERROR.code, "")]
        dyno = rng.choice(dynos)
        is_slow = at_s % SLOW_EVERY_S < SLOW_FOR_S
        service_ms = self._service_ms(page, dyno, at_s) * (SLOW_FACTOR if is_slow else 1)
        if service_ms >= 30_000 and 101 not in page.statuses:
            return [self._failure(at_s, fields, TIMEOUT_ERROR.code, dyno.name)]
        if rng.random() < ERROR_SHARE * (4 if is_slow else 1):
            error = rng.choices(ROUTER_ERRORS, _ERROR_WEIGHTS)[0]
            return [self._failure(at_s, fields, error.code, dyno.name)]
        lines = [self._success(at_s, fields, page, dyno.name, int(service_ms))]
        if rng.random() < APP_LINES_PER_REQUEST:
            lines[:0] = self._output(at_s, dyno.name, int(service_ms))
        return lines

    def _service_ms(self, page: SimulatedPage, dyno: SimulatedDyno, at_s: float) -> float:
        crowding = 0.7 + 0.3 * user_activity(at_s) ** 2
        return page.service_ms * dyno.speed * crowding * self._rng.lognormvariate(0, page.spread)

    def _request_fields(self, page: SimulatedPage) -> RequestFields:
        rng = self._rng
        bits = rng.getrandbits(160)
        fwd = f"203.0.113.{bits & 255}"
        if bits % 5 == 0:
            fwd += f", 198.51.100.{bits >> 8 & 255}"
        if bits % 499 == 0:  # the client controls X-Forwarded-For
            fwd = f"{fwd} dyno=web.9 status=200, {fwd}"
        return RequestFields(
            page.method,
            page.path.replace("{}", str(bits % 90_000)),
            f"{self.name}.example.com",
            str(uuid.UUID(int=bits >> 32)),
            fwd,
        )

    def _success(
        self, at_s: float, fields: RequestFields, page: SimulatedPage, dyno: str, service_ms: int
    ) -> SimulatedLine:
        rng = self._rng
        legacy = rng.random() < LEGACY_ROUTER_SHARE
        status = rng.choices(list(page.statuses), list(page.statuses.values()))[0]
        size = 0 if status in (204, 304) else int(page.bytes * rng.uniform(0.6, 1.6))
        connect_ms = rng.choice((0, 1, 1, 2, 4)) if legacy else 0
        tail = (
            f"dyno={dyno} connect={connect_ms}ms service={service_ms}ms"
            f" status={status} bytes={size}"
        )
        text = router_frame(at_s, fields, "at=info", tail, legacy=legacy, agent=False)
        return SimulatedLine(at_s, text, status)

    def _failure(self, at_s: float, fields: RequestFields, code: str, dyno: str) -> SimulatedLine:
        rng = self._rng
        error = ERRORS_BY_CODE[code]
        legacy = error.legacy or rng.random() < LEGACY_ROUTER_SHARE
        connect_ms = rng.choice((1, 2, 6)) if legacy else 0
        tail = error.format_tail(dyno, connect_ms, rng.randint(*error.service_ms), legacy=legacy)
        text = router_frame(at_s, fields, error.head, tail, legacy=legacy, agent=error.agent)
        return SimulatedLine(at_s, text, error.status, error.code)

    def _output(self, at_s: float, procid: str, ms: int) -> list[SimulatedLine]:
        rng = self._rng
        number = rng.randrange(100_000)
        if number % 1_000 == 0:
            ids = [rng.randrange(10**9) for _ in range(rng.randint(1_000, 2_500))]
            text = json.dumps({"msg": "naïve dump", "ids": ids})
        else:
            text = rng.choice(_APP_TEXTS).format(n=number, ms=ms)
        if text == MARKS:
            text = format_marks(self._marks_rng, ms)
        output_s = at_s - 0.003  # the app logs before the router does
        return [SimulatedLine(at_s, piece) for piece in app_frames(output_s, procid, text)]

    def _jobs(self, at_s: float) -> Process:
        rng = self._rng
        workers = [dyno for dyno in self._dynos if dyno.name.startswith("worker.")]
        while True:
            at_s += rng.expovariate(self._requests_per_s * JOBS_PER_REQUEST)
            yield (), at_s
            worker = rng.choice(workers)
            text = (
                f"tid={rng.getrandbits(24):x} class=MailJob elapsed={rng.random():.3f} INFO: done"
            )
            frames = app_frames(at_s, worker.name, text)
            yield [SimulatedLine(at_s, piece) for piece in frames if worker.is_up], at_s

    def _releases(self, at_s: float) -> Process:
        """A deploy about every hour, after which the dynos restart one after the other."""
        at_s += 46
        while True:
            yield (), at_s
            self._release += 1
            author = "by user dev@example.com"
            yield (
                [
                    self._api(at_s, f"Build started {author}"),
                    self._api(at_s, f"Deploy {self._rng.getrandbits(32):08x} {author}"),
                    self._api(at_s, f"Release v{self._release} created {author}"),
                    self._api(at_s, "Build succeeded"),
                ],
                at_s,
            )
            for index, dyno in enumerate(self._dynos):
                dyno.restart_due_s = at_s + 3 + 25 * index
            at_s += self._rng.uniform(0.7, 1.3) * 3600

    def _one_offs(self, at_s: float) -> Process:
        """One-off dynos, some of them with errors."""
        at_s += 30
        for number in count(self._rng.randint(1_000, 5_000)):
            yield (), at_s
            name = f"scheduler.{number}"
            yield (
                [
                    self._api(
                        at_s, "Starting process with command `rake tidy` by user x@example.com"
                    )
                ],
                at_s,
            )
            for delay_s, text in (
                (3, "Starting process with command `rake tidy`"),
                (20, "State changed from starting to up"),
                (0.1, "Process exited with status 0"),
                (1, "State changed from up to complete"),
            ):
                yield [_dyno_line(at_s, name, text)], at_s + delay_s
                at_s += delay_s
            if self._rng.random() < 0.3:
                yield self._trouble(at_s, f"run.{number}"), at_s
            at_s += self._rng.uniform(0.8, 1.2) * 600

    def _trouble(self, at_s: float, name: str) -> list[SimulatedLine]:
        text = f"Error L12: 3 messages dropped since {timestamp(at_s - 9)}."
        l12_frame = frame(PRI_LOGPLEX, at_s, "app", "log-shuttle", text)
        return [
            _dyno_line(
                at_s,
                name,
                "Error R16 (Detached) -> An attached process is not responding to SIGHUP",
                "R16",
            ),
            SimulatedLine(at_s, l12_frame, code="L12", lost=3),
        ]

    def _addon_lines(self, at_s: float) -> Process:
        addons = SimulatedAddons(self._marks_rng)
        while True:
            lines = list(addons.lines(at_s, user_activity(at_s)))
            at_s += ADDON_INTERVAL_S
            yield lines, at_s

    def _api(self, at_s: float, text: str) -> SimulatedLine:
        return SimulatedLine(at_s, frame(PRI_API, at_s, "app", "api", text))


def _dyno_line(at_s: float, name: str, text: str, code: str = "") -> SimulatedLine:
    return SimulatedLine(at_s, frame(PRI_DYNO, at_s, "heroku", name, text), code=code)


def _run(start_s: float, processes: list[Process]) -> Iterator[SimulatedLine]:
    """Resume each process at the time that it asked for, and yield its lines."""
    agenda = [(start_s, number, process) for number, process in enumerate(processes)]
    heapq.heapify(agenda)
    while True:
        _, number, process = agenda[0]
        lines, next_s = next(process)
        yield from lines
        heapq.heapreplace(agenda, (next_s, number, process))
