"""What every test relies on."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    # A shell starts its background jobs deaf to Ctrl-C, and so would be the commands that the tests interrupt.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
