"""A small one-shot space with every kind of decision."""

from __future__ import annotations

from mobilenas_tf.one_shot_space import OneShotSpace, OneShotStage, Operation

OPERATIONS = (None, Operation(3, 2), Operation(5, 3))


def small_one_shot_space(image_size_px: int = 8, num_classes: int = 3) -> OneShotSpace:
    return OneShotSpace(
        name="small",
        image_size_px=image_size_px,
        stem_channels=(4, 8),
        stem_stride=1,
        stages=(
            OneShotStage((8, 16), 2, 2, OPERATIONS, has_free_first=True),
            OneShotStage((8,), 2, 1, OPERATIONS),
        ),
        head_channels=(8, 16),
        num_classes=num_classes,
        channel_divisor=4,
    )
