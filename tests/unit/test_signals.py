"""A postponed Ctrl-C."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from dev_sessions.system.signals import uninterrupted


def test_a_ctrl_c_takes_effect_at_the_end() -> None:
    before, reached = signal.getsignal(signal.SIGINT), []

    @uninterrupted()
    def pressed_twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        reached.append("the end")

    with pytest.raises(KeyboardInterrupt):
        pressed_twice()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGINT) is before


def test_an_error_of_the_block_is_not_lost() -> None:
    @uninterrupted()
    def fails() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise ValueError("half way")

    with pytest.raises(KeyboardInterrupt) as raised:
        fails()
    assert isinstance(raised.value.__context__, ValueError)


def test_without_one_nothing_happens() -> None:
    with uninterrupted():
        pass
    with pytest.raises(ValueError, match="as it was"), uninterrupted():
        raise ValueError("as it was")


def test_in_another_thread_the_block_just_runs() -> None:
    ran = []

    def block() -> None:
        with uninterrupted():
            ran.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert ran == [signal.getsignal(signal.SIGINT)]
