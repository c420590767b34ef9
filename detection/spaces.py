"""Search spaces of detectors: a named space under a detection head."""

from __future__ import annotations

from detection.config import HeadConfig
from detection.heads import with_detection_head
from mobilenas_tf.names import lookup
from mobilenas_tf.space import SearchSpace, width_space
from mobilenas_tf.spaces import TABLES, build_supernet


def detector_space(
    name: str,
    config: HeadConfig,
    *,
    num_classes: int,
    image_size_px: int,
    channel_divisor: int = 8,
) -> SearchSpace:
    """Returns a named space whose supernet is a detector.

    Where the space leaves all widths open, so are those of the head's extra layers. The
    cost of a network in the space is that of the whole detector.

    Args:
        name: A named space with feature maps of stride 32, such as figs_mobilenet_v2.
        config: What head.
        num_classes: K, without the background.
        image_size_px: Input size.
        channel_divisor: What channel counts are multiples of.

    Raises:
        ValueError: If there is no such space, or it lacks the head's feature maps.
    """
    table = lookup("space", name, TABLES)()
    supernet = with_detection_head(
        build_supernet(name, table, num_classes=num_classes),
        config,
        num_classes=num_classes,
        image_size_px=image_size_px,
    )
    return width_space(
        name, supernet, channel_divisor=channel_divisor, open_widths=table.open_widths
    )
