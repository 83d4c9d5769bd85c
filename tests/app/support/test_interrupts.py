"""Ctrl-C ends what goes on, whatever went on when it came."""

from __future__ import annotations

import signal
import sys

import pytest

from app.support.process import interrupts


class Ending:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), interrupts():
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_while_an_object_ends_is_seen_at_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lost: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda said: lost.append(said.exc_type))
    with interrupts() as look:
        look()
        ending = Ending()
        del ending
        assert lost == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            look()


def test_afterwards_all_is_as_before() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
