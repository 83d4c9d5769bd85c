"""Heroku's error codes: title, meaning, and where to look for the cause.

H codes come from the router and concern a request. R codes come from a dyno's runtime. L codes come
from the log stream. The list follows Heroku's "Error Codes" article, in our own words. The memory
limits are those of "Dyno Memory Behavior" (October 2024). Both are in Heroku's Dev Center. Codes
that Heroku no longer sends stay, for old logs.
"""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """The title of a code, and a sentence or two on its cause and remedy."""

    title: str
    meaning: str


MAINTENANCE_CODE = "H80"  # the app's owner turned it on, so the request did not fail
UNKNOWN = ErrorCode("Unknown code", "Not in our list. Look it up in Heroku's list of error codes.")

CODES = {
    "H10": ErrorCode(
        "App crashed",
        "A web dyno crashed or cannot start. Check its last output and recent releases.",
    ),
    "H11": ErrorCode(
        "Backlog too deep",
        "Requests arrive faster than the web dynos answer. Add dynos or speed up slow requests.",
    ),
    "H12": ErrorCode(
        "Request timeout",
        "No first byte within 30 s. The dyno may still be working on the request. Look for slow "
        "queries and calls, and move long work to a worker.",
    ),
    "H13": ErrorCode(
        "Connection closed without response",
        "The dyno accepted the request and closed the connection. Look for crashes, restarts and "
        "server timeouts at that time.",
    ),
    "H14": ErrorCode(
        "No web dynos running", "The app has no web dyno. Start one: heroku ps:scale web=1"
    ),
    "H15": ErrorCode(
        "Idle connection",
        "The response stalled for 55 s. Streams and long polls must send data more often.",
    ),
    "H16": ErrorCode("Redirect to herokuapp.com", "Retired: Heroku no longer sends this code."),
    "H17": ErrorCode(
        "Poorly formatted HTTP response",
        "The dyno's response was not valid HTTP. Check the code that writes headers or raw "
        "responses.",
    ),
    "H18": ErrorCode(
        "Server request interrupted",
        "The dyno closed the connection in the middle of a request or response. Look for restarts, "
        "and for uploads that the app rejects without reading them. With Router 2.0 also for idle "
        "timeouts of the app's server that are shorter than the router's 90 s. A status of 200 is "
        "what the client got before the response broke off.",
    ),
    "H19": ErrorCode(
        "Backend connection timeout",
        "The router could not connect to the dyno within 5 s. The dyno is overloaded or hangs.",
    ),
    "H20": ErrorCode(
        "App boot timeout",
        "A request waited 75 s for a dyno to start. Speed up the start, or use preboot.",
    ),
    "H21": ErrorCode(
        "Backend connection refused",
        "The dyno refused the connection. Its server is not listening, or is shutting down.",
    ),
    "H22": ErrorCode(
        "Connection limit reached",
        "The dynos have as many open connections as the router allows. Look for slow requests, or "
        "add dynos.",
    ),
    "H23": ErrorCode(
        "Endpoint misconfigured",
        "Retired: Heroku no longer sends this code. It meant a misconfigured route, often in a "
        "WebSocket handshake.",
    ),
    "H24": ErrorCode(
        "Forced close",
        "Heroku closed the connection to maintain its router. Clients should retry.",
    ),
    "H25": ErrorCode(
        "HTTP restriction",
        "The response broke a limit: a header, cookie or status line is too long, or the content "
        "length is wrong. The desc field of the log line says which.",
    ),
    "H26": ErrorCode(
        "Request error",
        "The client's request was malformed and never reached the dyno. Usually the app is not the "
        "cause.",
    ),
    "H27": ErrorCode(
        "Client request interrupted",
        "The client disconnected before the response. Many of these mean that responses are too "
        "slow.",
    ),
    "H28": ErrorCode(
        "Client connection idle",
        "The client sent or read nothing for 55 s. Its network is slow, or the client hangs.",
    ),
    "H31": ErrorCode(
        "Misdirected request",
        "The request reached a router that does not serve its host, mostly because the client uses "
        "stale DNS. If the app works in a browser, there is nothing to do.",
    ),
    "H32": ErrorCode(
        "TLS certificate mismatch",
        "The certificate does not match the requested host. Check heroku certs and heroku domains.",
    ),
    "H33": ErrorCode(
        "HTTP/2 stream broken",
        "An HTTP/2 stream broke off. The client or the dyno is the cause, and the router cannot "
        "always tell which.",
    ),
    "H34": ErrorCode(
        "All dynos quarantined",
        "The router could not connect to any web dyno: each refused a connection or timed out "
        "within the last 5 s. The dynos are overloaded, hang or restart.",
    ),
    "H80": ErrorCode(
        "Maintenance mode",
        "Maintenance mode is on. These requests are not counted as failed. Turn it off: "
        "heroku maintenance:off",
    ),
    "H81": ErrorCode("Blank app", "Nothing has been deployed to this app yet."),
    "H82": ErrorCode(
        "Dyno hours used up",
        "The account has no dyno hours left this month. Change the dyno type.",
    ),
    "H83": ErrorCode(
        "Planned service degradation",
        "Heroku rejected the request on purpose, as announced. Read Heroku's notices.",
    ),
    "H99": ErrorCode(
        "Platform error",
        "A fault of Heroku, not of the app. Check status.heroku.com.",
    ),
    "R10": ErrorCode(
        "Boot timeout",
        "The web process did not bind to $PORT within 60 s (Java and Gradle: 90 s). Check what it "
        "does before listening.",
    ),
    "R11": ErrorCode("Bad bind", "The process listens on another port than $PORT."),
    "R12": ErrorCode(
        "Exit timeout",
        "The process did not exit within 30 s of SIGTERM and was killed. Handle SIGTERM.",
    ),
    "R13": ErrorCode(
        "Attach error", "A one-off dyno (heroku run) could not attach to its process."
    ),
    "R14": ErrorCode(
        "Memory quota exceeded",
        "The dyno swaps and is slow. Heroku repeats the error about every 20 s while this lasts. "
        "Look for leaks, run fewer processes per dyno, or use a larger dyno. Dynos in Private "
        "Spaces have no swap, so they never log this code.",
    ),
    "R15": ErrorCode(
        "Memory quota vastly exceeded",
        "The dyno used far more than its memory quota and was killed: 2 × the quota from Eco to "
        "Performance-L, 1.2 × on Performance-L-RAM, XL and 2XL, 1 × on Private and Shield dynos. "
        "Look for a leak, or for one huge request.",
    ),
    "R16": ErrorCode(
        "Detached",
        "A one-off process kept running after its terminal was closed. Make it exit on SIGHUP.",
    ),
    "R17": ErrorCode(
        "Checksum error",
        "The slug failed its checksum. Restart the app. If the error returns, deploy again.",
    ),
    "R99": ErrorCode(
        "Platform error",
        "Heroku could not run the dyno properly. Check status.heroku.com.",
    ),
    "R151": ErrorCode(
        "Runtime error",
        "Heroku's tools list this code without a description. Ask Heroku's support if it persists.",
    ),
    "L10": ErrorCode(
        "Drain buffer overflow",
        "A drain was too slow or unavailable, and Heroku dropped messages. Figures for that time "
        "are too low.",
    ),
    "L11": ErrorCode(
        "Tail buffer overflow",
        "A heroku logs --tail session was too slow and missed messages. Drains are not affected.",
    ),
    "L12": ErrorCode(
        "Local buffer overflow",
        "A dyno logs faster than it can deliver, and messages were dropped. Log less.",
    ),
    "L13": ErrorCode(
        "Local delivery error",
        "Messages were lost between a dyno and Heroku's log service.",
    ),
    "L14": ErrorCode(
        "Certificate validation error",
        "A TLS drain's certificate is not valid for its host. Renew or correct it.",
    ),
    "L15": ErrorCode(
        "Tail buffer unavailable",
        "heroku logs cannot show past lines for a while. Drains are not affected.",
    ),
    "L20": ErrorCode(
        "Tail sessions forbidden",
        "The app's logs may not be tailed. They go to its drains only.",
    ),
}


def explain(code: str) -> ErrorCode:
    """The entry of a code; UNKNOWN if the code is not listed."""
    return CODES.get(code, UNKNOWN)


def no_runtime_metrics(app: str) -> str:
    """A hint for an app that logs requests but no memory and load of its dynos."""
    return (
        f"no runtime metrics: if heroku labs -a {app} shows log-runtime-metrics as off, run\n"
        f"  heroku labs:enable log-runtime-metrics -a {app}\n"
        f"  heroku restart -a {app}"
    )
