from __future__ import annotations

import os
import signal
import threading

import pytest

from mobilenas_tf.interruption import (
    Interrupted,
    hold_signals,
    keep_handlers,
    raise_on_signals,
)

SIGNALS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_is_held_until_it_is_answered(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with hold_signals() as held:
        held.answer("nothing has come")
        os.kill(os.getpid(), number)
        with pytest.raises(Interrupted, match="saved after epoch 3") as error:
            held.answer("saved after epoch 3")
    assert error.value.number == number
    assert signal.getsignal(number) == before


def test_a_second_signal_does_not_wait() -> None:
    with pytest.raises(Interrupted) as error, hold_signals():
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
    assert error.value.number == signal.SIGINT


@pytest.mark.parametrize("number", SIGNALS)
def test_signals_can_raise_wherever_the_program_is(number: signal.Signals) -> None:
    with keep_handlers():
        raise_on_signals()
        with pytest.raises(Interrupted) as error:
            os.kill(os.getpid(), number)
    assert error.value.number == number
    assert isinstance(error.value, KeyboardInterrupt)  # no `except Exception` has it


def test_another_thread_may_hold_signals_that_it_never_gets() -> None:
    found = []

    def work() -> None:
        with hold_signals() as held:
            found.append(held.number)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
