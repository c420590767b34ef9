"""The named spaces of a joint search, as data."""

from __future__ import annotations

from collections.abc import Callable

from mobilenas_tf.joint_space import JointSpace, JointStage
from mobilenas_tf.names import lookup

_ALWAYS = {"first_expansion": (1, 1), "expansion": (1, 1), "squeeze_excite": ("off",)}


def _fbnet_v3(num_classes: int) -> JointSpace:
    """FBNetV3's seven stages; ranges around the released networks A to G."""
    return JointSpace(
        name="fbnet_v3",
        resolution=(224, 320, 8),
        stem_channels=(16, 32),
        stages=(
            JointStage((16, 32), (1, 4), 1, **_ALWAYS),
            JointStage((24, 48), (2, 6), 2, (3, 6), (2, 4)),
            JointStage((32, 64), (2, 7), 2, (3, 6), (2, 4)),
            JointStage((64, 112), (3, 7), 2, (3, 6), (2, 5)),
            JointStage((96, 168), (4, 10), 1, (3, 6), (2, 5)),
            JointStage((168, 272), (4, 9), 2, (4, 7), (3, 6)),
            JointStage((192, 304), (1, 3), 1, (4, 7), (4, 7)),
        ),
        head_expansion=6,
        head_channels=1984,
        num_classes=num_classes,
    )


def _fbnet_v3_32(num_classes: int) -> JointSpace:
    """The same decisions for small images: fewer stages, strides and channels."""
    return JointSpace(
        name="fbnet_v3_32",
        resolution=(24, 32, 4),
        stem_channels=(8, 24),
        stages=(
            JointStage((8, 24), (1, 2), 1, **_ALWAYS),
            JointStage((16, 32), (1, 4), 1, (2, 6), (1, 4)),
            JointStage((24, 56), (1, 4), 2, (2, 6), (1, 4)),
            JointStage((40, 88), (1, 4), 2, (2, 6), (1, 4)),
        ),
        head_expansion=4,
        head_channels=None,
        num_classes=num_classes,
    )


SPACES: dict[str, Callable[[int], JointSpace]] = {
    "fbnet_v3": _fbnet_v3,
    "fbnet_v3_32": _fbnet_v3_32,
}


def named_joint_space(name: str, *, num_classes: int = 1000) -> JointSpace:
    """Returns a space of a joint search by name.

    Raises:
        ValueError: If there is none of that name; the message has the nearest ones.
    """
    return lookup("space", name, SPACES)(num_classes)
