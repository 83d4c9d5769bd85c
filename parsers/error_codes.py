"""What Heroku's error codes mean, and what to look at when one turns up.

H codes come from the router, about a request; R codes from a dyno's runtime; L codes from the log
stream itself. The list follows Heroku's "Error Codes" article; the wording is ours.
"""

from __future__ import annotations

from typing import NamedTuple


class ErrorCode(NamedTuple):
    """A code's name and, in a sentence or two, what happened and what to look at."""

    title: str
    meaning: str


UNKNOWN = ErrorCode("Unknown code", "Not in our list: look it up among Heroku's error codes.")

CODES = {
    "H10": ErrorCode(
        "App crashed",
        "A web dyno crashed or cannot start. Look at its last output and at recent releases.",
    ),
    "H11": ErrorCode(
        "Backlog too deep",
        "More requests arrive than the web dynos answer. Add dynos or make slow requests faster.",
    ),
    "H12": ErrorCode(
        "Request timeout",
        "No first byte within 30 s; the dyno may still be at work on it. Look for slow queries and "
        "calls, and move long work to a worker.",
    ),
    "H13": ErrorCode(
        "Connection closed without response",
        "The dyno took the request and hung up. Look for crashes, restarts and server timeouts "
        "at that time.",
    ),
    "H14": ErrorCode("No web dynos running", "The app has no web dyno: heroku ps:scale web=1."),
    "H15": ErrorCode(
        "Idle connection",
        "The response stalled for 55 s. Streams and long polls must send something in between.",
    ),
    "H16": ErrorCode("Redirect to herokuapp.com", "A code that Heroku no longer sends."),
    "H17": ErrorCode(
        "Poorly formatted HTTP response",
        "The dyno's answer was not valid HTTP. Look at what writes headers or raw responses.",
    ),
    "H18": ErrorCode(
        "Server request interrupted",
        "The dyno closed the connection in the middle of a request or response. Look for restarts "
        "and for uploads the app refuses without reading them.",
    ),
    "H19": ErrorCode(
        "Backend connection timeout",
        "The router could not connect to the dyno within 5 s: it is overloaded or hangs.",
    ),
    "H20": ErrorCode(
        "App boot timeout",
        "A request waited 75 s for a starting dyno. Make the start faster, or use preboot.",
    ),
    "H21": ErrorCode(
        "Backend connection refused",
        "The dyno refused the connection: the server in it is not listening, or is shutting down.",
    ),
    "H22": ErrorCode(
        "Connection limit reached",
        "The dynos hold as many connections as the router allows. Look for slow requests, or "
        "add dynos.",
    ),
    "H23": ErrorCode(
        "Endpoint misconfigured",
        "The app's route is misconfigured, often in a WebSocket handshake.",
    ),
    "H24": ErrorCode(
        "Forced close",
        "Heroku closed the connection for maintenance of its router. Clients should retry.",
    ),
    "H25": ErrorCode(
        "HTTP restriction",
        "The response broke a limit: a header, cookie or status line too long, or a wrong "
        "content length. The line's desc says which.",
    ),
    "H26": ErrorCode(
        "Request error",
        "The client's request was malformed, and the dyno did not get it. Usually not the app.",
    ),
    "H27": ErrorCode(
        "Client request interrupted",
        "The client went away before the answer. Many of them mean that answers are too slow.",
    ),
    "H28": ErrorCode(
        "Client connection idle",
        "The client sent or read nothing for 55 s: slow networks, or clients that hang.",
    ),
    "H31": ErrorCode(
        "Misdirected request",
        "The request named a host other than its TLS connection was made for. Look at the client.",
    ),
    "H32": ErrorCode(
        "TLS certificate mismatch",
        "The certificate does not fit the requested host. Look at heroku certs and domains.",
    ),
    "H80": ErrorCode("Maintenance mode", "Maintenance mode is on: heroku maintenance:off ends it."),
    "H81": ErrorCode("Blank app", "Nothing has been deployed to this app yet."),
    "H82": ErrorCode(
        "Dyno hours used up",
        "The account's pool of dyno hours for the month is empty. Change the dyno type.",
    ),
    "H83": ErrorCode(
        "Planned service degradation",
        "Heroku turned the request away on purpose, as announced. See Heroku's notices.",
    ),
    "H99": ErrorCode(
        "Platform error",
        "Heroku's own fault. Look at status.heroku.com; nothing to do in the app.",
    ),
    "R10": ErrorCode(
        "Boot timeout",
        "The web process did not bind to $PORT within 60 s. Look at what it does before listening.",
    ),
    "R11": ErrorCode("Bad bind", "The process bound to another port than $PORT."),
    "R12": ErrorCode(
        "Exit timeout",
        "The process did not end within 30 s of SIGTERM and was killed. Handle SIGTERM.",
    ),
    "R13": ErrorCode(
        "Attach error", "A one-off dyno (heroku run) could not attach to its process."
    ),
    "R14": ErrorCode(
        "Memory quota exceeded",
        "The dyno swaps and is slow; repeated every 20 s or so for as long as it lasts. Look for "
        "leaks, run fewer processes per dyno, or take a larger dyno.",
    ),
    "R15": ErrorCode(
        "Memory quota vastly exceeded",
        "The dyno used twice its memory or more and was killed. Look for a leak, or for one "
        "huge request.",
    ),
    "R16": ErrorCode(
        "Detached",
        "A one-off process went on after its terminal was closed. Let it end on SIGHUP.",
    ),
    "R17": ErrorCode(
        "Checksum error",
        "The slug failed its checksum. Restart; if it comes back, deploy again.",
    ),
    "R99": ErrorCode(
        "Platform error",
        "Heroku could not run the dyno as it should. Look at status.heroku.com.",
    ),
    "R151": ErrorCode(
        "Runtime error",
        "Heroku's tools list it without a description. Ask Heroku's support if it persists.",
    ),
    "L10": ErrorCode(
        "Drain buffer overflow",
        "A drain was too slow or away, and Heroku dropped messages: figures of that time are "
        "too low.",
    ),
    "L11": ErrorCode(
        "Tail buffer overflow",
        "A heroku logs --tail session was too slow and missed messages. Drains are not affected.",
    ),
    "L12": ErrorCode(
        "Local buffer overflow",
        "A dyno logs faster than it can hand on, and messages were dropped. Log less.",
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
        "The app's logs may not be tailed; they go to the drains alone.",
    ),
}


def explain(code: str) -> ErrorCode:
    """What the code means; UNKNOWN for one that is not listed."""
    return CODES.get(code, UNKNOWN)


def no_runtime_metrics(app: str) -> str:
    """What to say of an app whose requests were seen, and not its dynos' memory and load."""
    return (
        "no runtime metrics: memory and load are not in the log until you run\n"
        f"  heroku labs:enable log-runtime-metrics -a {app}\n"
        f"  heroku restart -a {app}"
    )
