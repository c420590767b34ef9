"""The named one-shot spaces, as data: MobileNet's with channel ratios, and others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mobilenas_tf.names import lookup
from mobilenas_tf.one_shot_space import OneShotSpace, OneShotStage, Operation
from mobilenas_tf.spec import round_channels

RATIOS = (0.5, 0.75, 1.0, 1.25, 1.5)
MOBILE_OPERATIONS = (
    None,
    *(Operation(kernel, expansion) for kernel in (3, 5) for expansion in (3, 6)),
)
# NAS-Bench-Macro (Su et al., arXiv:2103.11922): identity, MB3 3x3, MB6 5x5.
MACRO_OPERATIONS = (None, Operation(3, 3), Operation(5, 6))
WIDTH_OPERATIONS = tuple(Operation(3, expansion) for expansion in (2, 3, 4, 5, 6))


def _widths(channels: int, ratios: Sequence[float] = RATIOS) -> tuple[int, ...]:
    """Returns the widths of ratios; those that round alike are one."""
    return tuple(sorted({round_channels(channels * ratio) for ratio in ratios}))


def _mobile(
    name: str,
    image_size_px: int,
    rows: Sequence[tuple[int, int, int]],
    *,
    stem: int,
    head: int,
    operations: Sequence[Operation | None] = MOBILE_OPERATIONS,
) -> Callable[[int], OneShotSpace]:
    """Returns the maker of a space; rows are channels, depth and stride."""

    def make(num_classes: int) -> OneShotSpace:
        return OneShotSpace(
            name=name,
            image_size_px=image_size_px,
            stem_channels=_widths(stem),
            stem_stride=2,
            stages=tuple(
                OneShotStage(_widths(channels), depth, stride, tuple(operations))
                for channels, depth, stride in rows
            ),
            head_channels=(head,),
            num_classes=num_classes,
        )

    return make


# MobileNetV2's rows (arXiv:1801.04381, table 2) without the first; for 32 px those of
# fbnet_32 and fewer strides.
ROWS_224 = (
    *((24, 4, 2), (32, 4, 2), (64, 4, 2)),
    *((96, 4, 1), (160, 4, 2), (320, 1, 1)),
)
ROWS_96 = ((16, 2, 1), (24, 3, 2), (40, 3, 2), (64, 3, 1), (104, 3, 2))
ROWS_32 = ((16, 2, 1), (24, 3, 2), (48, 3, 2), (64, 3, 1))


def _nas_bench_macro(num_classes: int) -> OneShotSpace:
    return OneShotSpace(
        name="nas_bench_macro",
        image_size_px=32,
        stem_channels=(32,),
        stem_stride=1,
        stages=tuple(
            OneShotStage((channels,), depth, 2, MACRO_OPERATIONS, has_free_first=True)
            for channels, depth in ((64, 2), (128, 3), (256, 3))
        ),
        head_channels=(1280,),
        num_classes=num_classes,
    )


SPACES: dict[str, Callable[[int], OneShotSpace]] = {
    "one_shot": _mobile("one_shot", 224, ROWS_224, stem=16, head=1280),
    "one_shot_96": _mobile("one_shot_96", 96, ROWS_96, stem=16, head=640),
    "one_shot_32": _mobile("one_shot_32", 32, ROWS_32, stem=16, head=256),
    "one_shot_widths_32": _mobile(
        *("one_shot_widths_32", 32, ROWS_32),
        stem=16,
        head=256,
        operations=WIDTH_OPERATIONS,
    ),
    "nas_bench_macro": _nas_bench_macro,
}


def named_one_shot_space(name: str, *, num_classes: int = 1000) -> OneShotSpace:
    """Returns a one-shot space by name.

    Raises:
        ValueError: If there is none of that name; the message has the nearest ones.
    """
    return lookup("space", name, SPACES)(num_classes)
