"""Elects the drain of an app that counts.

An app with two drains delivers every line twice, under different Frame-Ids. Only one of them may
count. Drains are identified by their Logplex-Drain-Token.

The drain that delivers first is *active*. Another one takes over in one of two cases: it uses a
newer secret ('drains rotate'), or the active one has been silent for TAKEOVER_S while the other
delivers. All drains of an app get the same lines, so the silent one must have been removed.

The changeover happens at one full minute in the timestamps of the lines. Before it the old drain
counts, from it on the new one, however late either delivers. It is later than every line counted
from the old drain, so no line counts twice. It is not before the first line of the new drain, so
there is no gap as long as both deliver the lines in between.

No I/O. The state is kept in the store, which appends a batch only if the state is still the one
on which the election was based (app.storage.interface.StatePrecondition).
"""

from __future__ import annotations

import msgspec

from app.rollup.resolutions import align
from app.rollup.time_range import NEVER, TimeRange, since

MINUTE_S = 60
TAKEOVER_S = 900
OTHER_UPDATE_INTERVAL_S = 10  # `other_s` may lag by this much, to save writes


class DrainElection(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The state of an app's election. Times in Unix seconds."""

    token: str  # of the active drain
    since_s: int  # its lines count from this timestamp on
    previous_token: str  # of the drain whose lines count before that; "" for none
    generation: int  # of the newest secret that the active drain used
    counted_to_s: int  # every line counted so far has an earlier timestamp
    last_delivery_s: int  # of the active drain, to the minute
    other_token: str = ""  # of the last drain that delivered and did not count
    other_s: int = 0  # when it last delivered
    previous_since_s: int = 0  # lines of the previous drain count from here to `since_s`


class DrainClaim(msgspec.Struct, frozen=True, gc=False):
    """The claim of a batch's drain to count."""

    token: str
    generation: int  # of the secret that it used; 1 if none is required
    lines: TimeRange  # the minutes that its lines touch
    arrived_s: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DrainElection).decode


def pack_state(state: DrainElection) -> bytes:
    """Encode a state for the store."""
    return _encode(state)


def unpack_state(data: bytes) -> DrainElection | None:
    """Decode a state; None for b"", an app whose drains have sent no token so far.

    Raises:
        msgspec.MsgspecError: the bytes are no state.
    """
    return _decode(data) if data else None


def elect_drain(state: DrainElection | None, claim: DrainClaim) -> tuple[DrainElection, TimeRange]:
    """(the state after this batch, the range of timestamps in which the batch's lines count)."""
    if state is None:
        state = DrainElection(claim.token, 0, "", claim.generation, 0, claim.arrived_s)
    elif claim.token != state.token and _takes_over(state, claim):
        state = DrainElection(
            token=claim.token,
            since_s=max(state.counted_to_s, claim.lines.start_s),
            previous_token=state.token,
            generation=max(state.generation, claim.generation),
            counted_to_s=state.counted_to_s,
            last_delivery_s=claim.arrived_s,
            previous_since_s=state.since_s,
        )
    if claim.token == state.token:
        return _record_active_delivery(state, claim), since(state.since_s)
    if claim.token == state.previous_token:
        return _record_other_delivery(state, claim), TimeRange(
            state.previous_since_s, state.since_s
        )
    return _record_other_delivery(state, claim), NEVER


def is_settled(state: DrainElection, claim: DrainClaim) -> bool:
    """Whether all lines of a batch count and the state stays as it is: the common case."""
    return (
        claim.token == state.token
        and claim.generation <= state.generation
        and state.since_s <= claim.lines.start_s
        and claim.lines.end_s <= state.counted_to_s
        and align(claim.arrived_s, MINUTE_S) <= state.last_delivery_s
    )


def _takes_over(state: DrainElection, claim: DrainClaim) -> bool:
    has_newer_secret = claim.generation > state.generation
    return has_newer_secret or claim.arrived_s - state.last_delivery_s >= TAKEOVER_S


def _record_active_delivery(state: DrainElection, claim: DrainClaim) -> DrainElection:
    generation, counted_to_s = claim.generation, claim.lines.end_s
    last_delivery_s = align(claim.arrived_s, MINUTE_S)
    if (
        generation <= state.generation
        and counted_to_s <= state.counted_to_s
        and last_delivery_s <= state.last_delivery_s
    ):
        return state
    return msgspec.structs.replace(
        state,
        generation=max(state.generation, generation),
        counted_to_s=max(state.counted_to_s, counted_to_s),
        last_delivery_s=max(state.last_delivery_s, last_delivery_s),
    )


def _record_other_delivery(state: DrainElection, claim: DrainClaim) -> DrainElection:
    if (
        state.other_token == claim.token
        and claim.arrived_s < state.other_s + OTHER_UPDATE_INTERVAL_S
    ):
        return state
    return msgspec.structs.replace(state, other_token=claim.token, other_s=claim.arrived_s)
