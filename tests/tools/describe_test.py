"""What `describe` says of a network of bit widths."""

from __future__ import annotations

from pathlib import Path

import pytest

from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.bit_widths import bit_macs, weight_bytes
from mobilenas_tf.json_io import write_architecture
from tests.tools.run_binary import run_binary

pytestmark = pytest.mark.slow


def test_bit_widths_and_their_costs_are_described(tmp_path: Path) -> None:
    space = named_block_space("bits_mobilenet_v2_32", num_classes=10)
    network = space.resolve({place.path: 2 for place in space.places})
    write_architecture(tmp_path / "bits.json", network)
    arguments = ("describe", "--architecture=bits.json")
    result = run_binary(tmp_path, *arguments, "--json").result
    assert result["bit_macs"] == bit_macs(network)
    assert result["weight_bytes"] == weight_bytes(network)
    *lines, last = run_binary(tmp_path, *arguments).stdout.strip().splitlines()
    assert sum("w4a4" in line for line in lines) == len(space.places)
    assert last.endswith(
        "56.971 M bit operations (what has no bit widths at 8 x 8), "
        "58.706 kB of weights"
    )
