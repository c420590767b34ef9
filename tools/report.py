"""Writes report.html of a run folder anew.

Example:
  python -m tools.report --run=runs/demo
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from tools import flag_config, run_flags


def main() -> None:
    """Writes the report of the flags' run."""
    from mobilenas_tf.reporting.page import write_report

    path = Path(flags.FLAGS.run)
    if not path.is_dir():
        raise FileNotFoundError(f"--run must be a run folder. {path} is missing")
    report = write_report(path)
    run_flags.finish({"report": str(report)}, f"Report: {report}")


flags.DEFINE_string("run", None, "A run folder.", required=True)
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
