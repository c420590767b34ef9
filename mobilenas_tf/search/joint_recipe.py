"""The recipe as decisions of a joint search.

Learning rate and weight decay are told as multiples of what is usual for the optimizer,
so that one range suits all optimizers; `Recipe` has the numbers themselves.

Source: Dai et al., FBNetV3, arXiv:2006.02049, section 3.3. Differs: the paper's ranges
are not known in full; label smoothing is searched too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mobilenas_tf.decisions import Choices, Decision, Integers, LogRange, Options, Value
from mobilenas_tf.training.optimizers import LEARNING_RATES
from mobilenas_tf.training.recipe import Recipe

PREFIX = "recipe/"
# Learning rate times weight decay: what a step takes off a weight, for a batch of 256.
USUAL_DECAY = 4e-5
# Of the averaged weights; reaches back some 50 steps.
EMA_DECAY = 0.98

RECIPE_DECISIONS: tuple[Decision, ...] = (
    Options(f"{PREFIX}optimizer", tuple(LEARNING_RATES)),
    LogRange(f"{PREFIX}learning_rate", 0.25, 8.0),
    LogRange(f"{PREFIX}weight_decay", 0.1, 10.0),
    Options(f"{PREFIX}averaged_weights", ("off", "on")),
    Integers(f"{PREFIX}mixup_percent", 0, 40, 10),
    Integers(f"{PREFIX}label_smoothing_percent", 0, 20, 5),
    Integers(f"{PREFIX}dropout_percent", 0, 30, 10),
    Integers(f"{PREFIX}drop_path_percent", 0, 20, 5),
)
# The defaults of `train_classifier`, for searches of the architecture alone.
DEFAULT_RECIPE: Choices = {
    f"{PREFIX}optimizer": "sgd",
    f"{PREFIX}learning_rate": 1.0,
    f"{PREFIX}weight_decay": 1.0,
    f"{PREFIX}averaged_weights": "off",
    f"{PREFIX}mixup_percent": 0,
    f"{PREFIX}label_smoothing_percent": 10,
    f"{PREFIX}dropout_percent": 10,
    f"{PREFIX}drop_path_percent": 0,
}


def recipe_of(choices: Mapping[str, Value]) -> Recipe:
    """Returns the recipe of choices, one for each of `RECIPE_DECISIONS`."""
    said: dict[str, Any] = {
        path.removeprefix(PREFIX): value
        for path, value in choices.items()
        if path.startswith(PREFIX)
    }
    usual = LEARNING_RATES[said["optimizer"]]

    def share(name: str) -> float:
        return said[f"{name}_percent"] / 100

    return Recipe(
        optimizer=said["optimizer"],
        learning_rate=float(f"{usual * said['learning_rate']:.4g}"),
        weight_decay=float(f"{USUAL_DECAY / usual * said['weight_decay']:.4g}"),
        ema_decay=EMA_DECAY if said["averaged_weights"] == "on" else 0.0,
        mixup_alpha=share("mixup"),
        label_smoothing=share("label_smoothing"),
        dropout_rate=share("dropout"),
        drop_path_rate=share("drop_path"),
    )
