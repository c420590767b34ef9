from __future__ import annotations

import concurrent.futures

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context

from mobilenas_tf.training.config import TrainingConfig
from mobilenas_tf.training.repetition import (
    keep_order,
    run_in_order,
    start_from_seed,
)


def executor() -> str | None:
    return context.context().function_call_options.executor_type


def test_operators_run_in_order_only_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = "tensorflow.config.threading.get_inter_op_parallelism_threads"
    monkeypatch.setattr(threads, lambda: 16)
    try:
        start_from_seed(TrainingConfig(deterministic=True))
        assert executor() == "SINGLE_THREADED_EXECUTOR"
        assert float(tf.function(lambda x: 2 * x)(tf.constant(3.0))) == 6
        # The graph optimizer's way to save memory is none for this executor: a search
        # of figs_mobilenet_v2_32 in batches of 64 ended with "reference-typed edges".
        assert tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]
    finally:
        start_from_seed(TrainingConfig())
    assert executor() is None
    assert not tf.config.optimizer.get_experimental_options()["disable_meta_optimizer"]


def test_another_thread_keeps_the_order_of_this_one() -> None:
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        try:
            run_in_order(True)
            assert pool.submit(executor).result() is None
            pool.submit(keep_order()).result()
            assert pool.submit(executor).result() == executor() is not None
        finally:
            run_in_order(False)


def test_order_without_the_threads_for_it_is_refused_rather_than_hanging() -> None:
    with pytest.raises(ValueError, match=r"allow_order\(\) was called. Received: 0"):
        start_from_seed(TrainingConfig(deterministic=True))
    assert executor() is None


def test_a_seed_decides_what_is_drawn() -> None:
    def drawn(seed: int) -> np.ndarray:
        start_from_seed(TrainingConfig(seed=seed))
        layer = keras.layers.Dense(3)
        layer.build((None, 4))
        return np.array(layer.kernel.value)

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))
