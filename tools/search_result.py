"""How binaries that search end: the report, and where the found networks are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools import run_flags

if TYPE_CHECKING:
    from mobilenas_tf.search.found import FoundNetwork
    from mobilenas_tf.training.run_dir import RunDir


def finish_search(found: FoundNetwork, run: RunDir) -> None:
    """Writes the report of a search's run and prints the last line."""
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.search.figs import SNAPSHOTS

    report = write_report(run.path)
    snapshots = sorted(map(str, (run.path / SNAPSHOTS).glob("*")))
    run_flags.finish(
        {
            "name": found.architecture.name,
            "macs": found.cost.macs,
            "params": found.cost.params,
            "architecture": str(run.architecture_path),
            "snapshots": snapshots,
        },
        f"Found {found.cost.macs / 1e6:.3f} M multiply-adds and "
        f"{found.cost.params:,} parameters: "
        + ", ".join([str(run.architecture_path), *snapshots, str(report)]),
    )
