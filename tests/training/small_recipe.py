"""A recipe for tests."""

from __future__ import annotations

from typing import Any

from mobilenas_tf.training.recipe import Recipe


def make_recipe(**changes: Any) -> Recipe:
    """Returns a recipe whose every setting differs from the defaults."""
    settings: dict[str, Any] = {
        "optimizer": "adamw",
        "learning_rate": 0.004,
        "weight_decay": 0.03,
        "ema_decay": 0.98,
        "mixup_alpha": 0.2,
        "label_smoothing": 0.05,
        "dropout_rate": 0.2,
        "drop_path_rate": 0.15,
    }
    return Recipe(**settings | changes)
