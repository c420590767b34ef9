"""Costs of networks whose blocks compute with few bits.

Layers without bit widths (stem, head and blocks that have none) count as 8 x 8, what
an int8 file executes.
"""

from __future__ import annotations

from mobilenas_tf.costs.layers import norm_params
from mobilenas_tf.costs.network import layer_costs
from mobilenas_tf.spec import Architecture, BitWidths, InvertedResidual, walk_blocks

INT8 = BitWidths(8, 8)


def bit_macs(architecture: Architecture) -> int:
    """Returns `sum_layers macs * weight bits * activation bits`.

    What an arithmetic unit that works bit by bit does, and, up to a factor, the energy
    of one that is made for every pair of widths.

    Source: Wu et al., Mixed precision quantization of ConvNets via differentiable
    neural architecture search, arXiv:1812.00090.
    """
    widths_of = block_bit_widths(architecture)
    total = 0
    for layer in layer_costs(architecture):
        widths = widths_of.get(layer.path, INT8)
        total += layer.cost.macs * widths.weights * widths.activations
    return total


def weight_bytes(architecture: Architecture) -> float:
    """Returns the bytes of all trained numbers: `params * bits / 8`.

    The kernels of a block have its bits; everything else has 8, as have the scales and
    offsets of batch norms, which become the convolutions' biases.
    """
    kernel_bits = {
        path: widths.weights for path, widths in block_bit_widths(architecture).items()
    }
    others = {
        path: norm_params(block)
        for path, block, _ in walk_blocks(architecture)
        if isinstance(block, InvertedResidual)
    }
    bits = 0
    for layer in layer_costs(architecture):
        params, rest = layer.cost.params, others.get(layer.path, 0)
        kernels = params - rest
        bits += kernels * kernel_bits.get(layer.path, INT8.weights) + 8 * rest
    return bits / 8


def block_bit_widths(architecture: Architecture) -> dict[str, BitWidths]:
    """Returns the bit widths of the blocks that have some, by path."""
    return {
        path: block.bit_widths
        for path, block, _ in walk_blocks(architecture)
        if isinstance(block, InvertedResidual) and block.bit_widths is not None
    }


def bit_costs(architecture: Architecture) -> dict[str, float]:
    """Returns `bit_macs` and `weight_bytes` if a block has bit widths, else nothing."""
    if not block_bit_widths(architecture):
        return {}
    return {
        "bit_macs": bit_macs(architecture),
        "weight_bytes": weight_bytes(architecture),
    }
