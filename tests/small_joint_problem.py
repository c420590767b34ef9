"""A joint problem whose accuracies are made up, so that nothing is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mobilenas_tf.decisions import Choices, Decision, Integers, LogRange, Options
from mobilenas_tf.search.joint_journal import Evaluation
from mobilenas_tf.search.joint_problem import JointProblem
from mobilenas_tf.search.workers import Order

EPOCHS = 5


RECIPE = (
    Options("recipe/optimizer", ("sgd", "adamw")),
    LogRange("recipe/learning_rate", 0.1, 10.0),
    Integers("recipe/mixup_percent", 0, 40, 10),
)


def small_joint_problem(*, recipe: Sequence[Decision] = RECIPE) -> JointProblem:
    """Returns a problem of three decisions about the network, and a recipe's."""

    def network(choices: Mapping[str, Any]) -> tuple[Any, ...]:
        # Without depth the kernel does not matter.
        depth = choices["depth"]
        return depth, choices["width"], choices["kernel"] if depth else None

    def costs(found: tuple[Any, ...]) -> Mapping[str, float]:
        depth, width, kernel = found
        macs = 10.0 + depth * width * (kernel or 0)
        return {"macs": macs, "params": macs / 2}

    return JointProblem(
        "small",
        architecture=(
            Integers("depth", 0, 4),
            Integers("width", 8, 64, 8),
            Options("kernel", (3, 5)),
        ),
        recipe=recipe,
        network=network,
        costs=costs,
    )


def accuracy(choices: Mapping[str, Any]) -> float:
    """Returns a made-up accuracy; the best recipe depends on the depth."""
    value = 0.3 + 0.05 * choices["depth"] + 0.002 * choices["width"]
    value += 0.02 * (choices["kernel"] == 5)
    value += 0.1 * (choices["recipe/optimizer"] == "adamw")
    value -= 0.05 * abs(choices["recipe/mixup_percent"] / 10 - choices["depth"])
    return value


def evaluate(order: Order) -> Evaluation:
    """Returns an order's made-up curve: the ranking is final from epoch 2 on."""
    final = accuracy(order.choices)
    # The first epoch favours what the end does not.
    curve = [1.0 - final, *(final - 0.01 * (EPOCHS - n) for n in range(2, EPOCHS + 1))]
    return Evaluation(order.choices, tuple(curve[: order.epochs]), seconds=1.0)


def fails_where(choices: Choices) -> bool:
    """Returns whether a candidate's learning rate is too high."""
    return float(choices["recipe/learning_rate"]) > 3
