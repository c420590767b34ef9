"""What makes two trainings of one seed equal: seeds, and the order of operators.

TensorFlow starts operators as their inputs come, and where three or more gradients meet
(AddN) it begins the sum with the one whose memory it can use again: another one from
run to run, even with one thread, and with it the last bit of the sum. One after the
other operators run in the order of the graph.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.eager import context  # it has no public name

from mobilenas_tf.training.config import TrainingConfig

# A graph that waits for another one, a loop for its body, holds a thread meanwhile:
# more than any nesting of ours.
_THREADS = 16
_IN_ORDER = "SINGLE_THREADED_EXECUTOR"


def allow_order() -> None:
    """Makes room for trainings in order; to be called before anything is computed."""
    tf.config.threading.set_inter_op_parallelism_threads(_THREADS)


def start_from_seed(training: TrainingConfig) -> None:
    """Sets the seed of everything that draws, and how operators are run from now on.

    Raises:
        ValueError: If operators are to run in order and `allow_order` was not called;
            with fewer threads they would wait for ever.
    """
    keras.utils.set_random_seed(training.seed)
    threads = tf.config.threading.get_inter_op_parallelism_threads()
    if training.deterministic and threads < _THREADS:
        raise ValueError(
            "deterministic must not be set before mobilenas_tf.training.repetition."
            f"allow_order() was called. Received: {threads} threads for operators"
        )
    run_in_order(training.deterministic)


def run_in_order(is_on: bool) -> None:
    """Sets whether operators run one after the other from now on; see `allow_order`."""
    # Where a step is thought to need more memory than TensorFlow says a CPU has
    # (256 MiB), its optimizer sums gradients in a way that this executor refuses.
    # Setting this forgets how operators are run: it comes first.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": is_on})
    _call_options().executor_type = _IN_ORDER if is_on else None


def keep_order() -> Callable[[], None]:
    """Returns what has another thread run operators as this one does now.

    Threads begin without order, and what they trace is then not fit for it.
    """
    executor = _call_options().executor_type

    def keep() -> None:
        _call_options().executor_type = executor

    return keep


def _call_options() -> Any:
    """Returns how this thread calls functions."""
    eager: Any = context.context()  # its annotation says that it may be None
    return eager.function_call_options
