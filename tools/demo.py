"""The main job end to end, on embedded data: from a search space to a timed .tflite.

Example:
  python -m tools.demo
  python -m tools.demo --task=detection

Needs no download and takes a few minutes. What else can be set depends on the task:
--task=detection --help shows it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from absl import flags

from tools import flag_config

TASKS = {
    "classification": "tools.demo_classification",
    "detection": "tools.demo_detection",
}


def _define_task(flag_values: flags.FlagValues) -> None:
    flags.DEFINE_enum(
        "task",
        "classification",
        list(TASKS),
        "Networks that name a digit, or that find digits in scenes.",
        flag_values=flag_values,
    )


def task_of(arguments: Sequence[str]) -> str:
    """Returns --task out of a command line whose other flags are not known yet.

    Where it is given wrongly this is the default: parsing the whole line will say so.
    """
    values = flags.FlagValues()
    _define_task(values)
    try:
        values(arguments, known_only=True)
    except flags.Error:
        values.unparse_flags()
        values.mark_as_parsed()
    return values.task


if __name__ == "__main__":
    _define_task(flags.FLAGS)
    demo = importlib.import_module(TASKS[task_of(sys.argv)])
    demo.define_flags()
    flags.adopt_module_key_flags(demo)
    flag_config.run(demo.main)
