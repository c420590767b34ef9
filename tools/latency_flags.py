"""The flag of a latency table, for the binaries that take one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from absl import flags

if TYPE_CHECKING:
    from mobilenas_tf.costs.latency_table import LatencyTable


def define_latency_table(purpose: str = "for --max_ms.") -> None:
    """Defines `--latency_table`, whose help ends in what it is for."""
    flags.DEFINE_string(
        "latency_table", None, f"JSON file of `build_latency_table`; {purpose}"
    )


def latency_table(space: str | None = None) -> LatencyTable | None:
    """Returns the table of the flag, None without one.

    Args:
        space: Whose table it must be, if given.

    Raises:
        FileNotFoundError: If the file is not there.
        ValueError: If it is no latency table, or that of another space.
    """
    from mobilenas_tf.costs.latency_table import read_latency_table

    path = flags.FLAGS.latency_table
    if not path:
        return None
    table = read_latency_table(Path(path))
    if space is not None and table.space != space:
        raise ValueError(
            f"latency_table must be of the space {space}; python -m "
            f"tools.build_latency_table --space={space} measures one. "
            f"Received: that of {table.space}"
        )
    return table
