"""The service's account of one replayed batch, as the drain answers it in a header, in JSON."""

from __future__ import annotations

import msgspec


class Delivery(msgspec.Struct, frozen=True):
    """The results of the messages of a batch.

    Attributes:
        ledger: messages by result, as in the ledger of the app.
        errors: accepted lines with an error code, by code.
        first_s: Unix time of the first accepted message; 0 if none was accepted.
        last_s: of the last one.
        earliest_ms: messages with an earlier time are too old.
        latest_ms: messages with a later time are too new.
    """

    ledger: dict[str, int]
    errors: dict[str, int]
    first_s: int
    last_s: int
    earliest_ms: int
    latest_ms: int


encode_delivery = msgspec.json.Encoder().encode
decode_delivery = msgspec.json.Decoder(Delivery).decode
