"""What FBNetV3-A and EfficientNet-B0 reach on ImageNet, as published: context only.

None of it was trained here. Beside what the sources give stands what our networks of
the zoo cost by our own count, so that one sees whether it is the same network.

Run: python -m benchmarks.joint_context
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import app

from benchmarks import evidence
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.zoo import zoo_architecture


@dataclasses.dataclass(frozen=True)
class Published:
    """What a source says of a network, in the digits that it gives.

    Attributes:
        network: Its name in the zoo.
        top1: Accuracy in percent.
        macs: It calls them FLOPs.
        params: By its own count.
        source: Which it is, and what it counts if that is not what we count.
    """

    network: str
    top1: float
    macs: float
    params: float
    source: str


PUBLISHED = (
    Published(
        "fbnet_v3_a",
        79.574,
        356.6e6,
        8.54e6,
        "its authors' model zoo; with what average pools read, without batch norms",
    ),
    Published("efficientnet_b0", 77.7, 390e6, 5.3e6, "timm, quoted in GENIUS, table 2"),
)


def main(_: Sequence[str]) -> None:
    """Prints the table and one JSON object."""
    rows = []
    for published in PUBLISHED:
        cost = network_cost(zoo_architecture(published.network))
        rows.append(
            {
                **dataclasses.asdict(published),
                "our_macs": cost.macs,
                "our_params": cost.params,
            }
        )
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures={"rows": rows}, settings={"dataset": "ImageNet, not ours"}, targets=[]
    )


if __name__ == "__main__":
    app.run(main)
