"""A small space of operators with every kind of candidate."""

from __future__ import annotations

from mobilenas_tf.block_space import BlockSpace, Candidate
from mobilenas_tf.block_spaces import SKIP, bit_width_candidates, fbnet_candidates
from mobilenas_tf.spec import Convolution, Head, Pooling

POOLING = Candidate("max_pooling", Pooling("max", 3, 1))


def small_block_space(num_classes: int = 3, image_size_px: int = 8) -> BlockSpace:
    wide = fbnet_candidates(8, 8, 1)
    by_name = {candidate.name: candidate for candidate in wide}
    first = tuple(by_name[name] for name in ("k3_e1", "k5_e3", "k3_e1_g2"))
    return BlockSpace(
        name="small",
        image_size_px=image_size_px,
        stem=Convolution(8, 3, 2, "relu"),
        stages=(
            ((*first, SKIP), (by_name["k3_e6"], POOLING, SKIP)),
            (fbnet_candidates(8, 16, 2)[:2],),
        ),
        head=Head(num_classes, conv_channels=16, activation="relu"),
    )


def small_bit_space(num_classes: int = 3, image_size_px: int = 8) -> BlockSpace:
    """Returns a space of bit widths: unsigned input, residual, other channels."""
    first = bit_width_candidates(8, 8, 1, expansion=1, is_input_signed=False)
    second = bit_width_candidates(8, 8, 1, expansion=2)
    third = bit_width_candidates(8, 16, 2, expansion=2)
    return BlockSpace(
        name="small_bits",
        image_size_px=image_size_px,
        stem=Convolution(8, 3, 2, "relu"),
        stages=((first, second), (third,)),
        head=Head(num_classes, conv_channels=16, activation="relu"),
    )
