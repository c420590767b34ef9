"""Ctrl-C and SIGTERM: answered where the work is safe.

What is safe, and saving before the end, is left to those who hold the signals back.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to end; says what is saved, if anything had to be."""

    def __init__(self, number: int, sentence: str = ""):
        """Takes the signal, and a sentence for the user."""
        super().__init__(sentence)
        self.number = number


def raise_on_signals() -> None:
    """From now on either signal raises `Interrupted` where the main thread is."""
    for number in _SIGNALS:
        signal.signal(number, _raise)


class HeldSignals:
    """What has come since the signals are held back."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self.number: int | None = None

    def take(self, number: int, _: FrameType | None) -> None:
        """Notes the first signal; whoever sends another one does not want to wait."""
        if self.number is not None:
            _raise(number, None)
        self.number = number

    def answer(self, sentence: str) -> None:
        """Raises `Interrupted` if a signal has come."""
        if self.number is not None:
            raise Interrupted(self.number, sentence)


@contextlib.contextmanager
def hold_signals() -> Iterator[HeldSignals]:
    """Holds the signals back for a `with` block, which answers them where it is safe.

    A second signal ends the block at once. Threads but the main one get no signals.
    """
    held = HeldSignals()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    with keep_handlers():
        for number in _SIGNALS:
            signal.signal(number, held.take)
        yield held


@contextlib.contextmanager
def keep_handlers() -> Iterator[None]:
    """Undoes what a `with` block does to the answers to signals."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _raise(number: int, _: FrameType | None) -> NoReturn:
    raise Interrupted(number)
