"""Ctrl-C ends the work in progress, whatever Python is doing when it arrives."""

from __future__ import annotations

import signal
import sys

import pytest

from app.support.process import reliable_interrupts


class InterruptedDestructor:
    def __del__(self) -> None:
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_raises_immediately() -> None:
    with pytest.raises(KeyboardInterrupt), reliable_interrupts():
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_inside_a_destructor_is_raised_at_the_next_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dropped_errors: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: dropped_errors.append(hook.exc_type))
    with reliable_interrupts() as check:
        check()
        victim = InterruptedDestructor()
        del victim
        assert dropped_errors == [KeyboardInterrupt]
        with pytest.raises(KeyboardInterrupt):
            check()


def test_the_previous_handler_is_restored() -> None:
    before = signal.getsignal(signal.SIGINT)
    with reliable_interrupts():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
