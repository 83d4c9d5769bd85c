"""Which drain of an app counts. Of an app with two drains every line comes twice, under different
Frame-Ids: only one of them may count.

Drains are told apart by their Logplex-Drain-Token. The one that delivers first is *active*. Another
one takes over when it comes with a newer secret ('drains rotate'), or when the active one has been
silent for TAKEOVER_S while the other delivers, since all drains of an app get the same lines.

The change-over lies at one instant of the lines' own time, at a full minute: before it the old
drain counts, from it the new one, however late either delivers. It lies behind everything that the
old drain has had counted, so nothing counts twice, and not before the new drain's first line, so
there is no gap as long as both deliver what lies between.

Pure. The state is kept in the store, where a batch is appended only if the state is still the one
that the batch was judged by (see port.Guard).
"""

from __future__ import annotations

import msgspec

from app.rollup.resolutions import align
from app.rollup.time_range import NEVER, TimeRange, since

MINUTE_S = 60
TAKEOVER_S = 900
OTHER_STEP_S = 10  # when another drain delivered last may lag by this much


class DrainElection(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Times in Unix seconds."""

    token: str  # the active drain's
    since_s: int  # its lines count from here, by their own time
    before: str  # token of the drain whose lines count before; "" for none
    generation: int  # of the secret that the active drain came with
    counted_to_s: int  # no line stamped then or later has been counted
    heard_s: int  # when the active drain last delivered, to the minute
    other: str = ""  # token of a drain that delivered and did not count, the last one
    other_s: int = 0  # when it did
    before_since_s: int = 0  # the lines of the drain before count from here to `since_s`


class DrainClaim(msgspec.Struct, frozen=True, gc=False):
    """What a batch has to say about its drain."""

    token: str
    generation: int  # of the secret that it came with; 1 where there are no secrets
    lines: TimeRange  # the minutes that its lines touch
    arrived_s: int


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(DrainElection).decode


def pack_state(state: DrainElection) -> bytes:
    """The state as the store keeps it."""
    return _encode(state)


def unpack_state(data: bytes) -> DrainElection | None:
    """The state of these bytes; None for b"", an app whose drains had no token so far.

    Raises:
        msgspec.MsgspecError: these bytes are no state.
    """
    return _decode(data) if data else None


def elect_drain(state: DrainElection | None, claim: DrainClaim) -> tuple[DrainElection, TimeRange]:
    """The state with this batch appended, and which of the batch's lines count."""
    if state is None:
        state = DrainElection(claim.token, 0, "", claim.generation, 0, claim.arrived_s)
    elif claim.token != state.token and _takes_over(state, claim):
        state = DrainElection(
            token=claim.token,
            since_s=max(state.counted_to_s, claim.lines.start_s),
            before=state.token,
            generation=max(state.generation, claim.generation),
            counted_to_s=state.counted_to_s,
            heard_s=claim.arrived_s,
            before_since_s=state.since_s,
        )
    if claim.token == state.token:
        return _delivered(state, claim), since(state.since_s)
    if claim.token == state.before:
        return _delivered_beside(state, claim), TimeRange(state.before_since_s, state.since_s)
    return _delivered_beside(state, claim), NEVER


def _takes_over(state: DrainElection, claim: DrainClaim) -> bool:
    rotated = claim.generation > state.generation
    return rotated or claim.arrived_s - state.heard_s >= TAKEOVER_S


def _delivered(state: DrainElection, claim: DrainClaim) -> DrainElection:
    generation, counted_to_s = claim.generation, claim.lines.end_s
    heard_s = align(claim.arrived_s, MINUTE_S)
    if (
        generation <= state.generation
        and counted_to_s <= state.counted_to_s
        and heard_s <= state.heard_s
    ):
        return state
    return msgspec.structs.replace(
        state,
        generation=max(state.generation, generation),
        counted_to_s=max(state.counted_to_s, counted_to_s),
        heard_s=max(state.heard_s, heard_s),
    )


def _delivered_beside(state: DrainElection, claim: DrainClaim) -> DrainElection:
    if state.other == claim.token and claim.arrived_s < state.other_s + OTHER_STEP_S:
        return state
    return msgspec.structs.replace(state, other=claim.token, other_s=claim.arrived_s)
