from __future__ import annotations

import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks.operator_profile import (
    BETWEEN,
    REST,
    make_rows,
    profile_step,
    sum_operators,
)


def test_only_operators_count() -> None:
    names = [
        "Process",
        "ThreadpoolListener::Record",
        "EagerLocalExecute: __inference_train_step_1",
        "stem/conv/Conv2D:Conv2D",
        "head/conv/Conv2D:Conv2D",
        "Mul_1:Mul",
    ]
    space = xplane_pb2.XSpace()
    plane = space.planes.add()
    line = plane.lines.add()
    for index, name in enumerate(names):
        plane.event_metadata[index].name = name
        line.events.add(metadata_id=index, duration_ps=10**9 * (index + 1))
    calls, seconds = sum_operators(space)
    assert calls == {"Conv2D": 2, "Mul": 1}
    assert seconds == pytest.approx({"Conv2D": 4e-3 + 5e-3, "Mul": 6e-3})


def test_rows_add_up_to_the_whole_step() -> None:
    # 14 types of 1 to 14 ms: 105 ms in two steps that took 140 ms by the clock.
    seconds = {f"Type{count}": 1e-3 * count for count in range(1, 15)}
    rows = make_rows(dict.fromkeys(seconds, 4), seconds, seconds=0.14, num_steps=2)
    assert sum(row["time_share"] for row in rows) == pytest.approx(1.0)
    assert rows[0] == pytest.approx(
        {
            "operator": "Type14",
            "calls_per_step": 2.0,
            "step_ms": 7.0,
            "time_share": 0.1,
        }
    )
    # The two shortest, 1 and 2 ms, are not named; 35 ms lie between operators.
    assert [row["operator"] for row in rows[-2:]] == [REST, BETWEEN]
    assert rows[-2]["step_ms"] == pytest.approx(1.5)
    assert rows[-2]["calls_per_step"] == 4.0
    assert rows[-1]["step_ms"] == pytest.approx(17.5)


def test_a_steps_operators_are_found() -> None:
    x = tf.Variable(tf.ones([64, 64]))

    @tf.function
    def step():
        return tf.linalg.cholesky(tf.eye(64) + tf.zeros([64, 64]) * x)

    rows = {row["operator"]: row for row in profile_step(step, num_steps=3)}
    assert rows["Cholesky"]["calls_per_step"] == 1.0
    assert rows["Cholesky"]["step_ms"] > 0
