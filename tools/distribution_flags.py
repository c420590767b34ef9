"""The flag of training on more devices, and what a binary does about it."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import sys
from pathlib import Path

from absl import flags

from mobilenas_tf.training.config import DistributionConfig
from tools import flag_config

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


def define_distribution() -> None:
    """Defines --distribute, for a binary that has --workdir."""
    flag_config.define_flags(DistributionConfig)


def start() -> None:
    """Makes the rest of the process train as flagged, before TensorFlow computes.

    Of several workers the first one tells and writes: the others get a --workdir of
    their own, which is gone at their end.

    Raises:
        ValueError: If there is nothing to train on as flagged, or workers differ.
    """
    from mobilenas_tf.training.distribution import (
        make_strategy,
        replicated,
        worker_folder,
        worker_share,
    )

    strategy = make_strategy(
        flag_config.config_from_flags(DistributionConfig),
        deterministic=flags.FLAGS.deterministic,
    )
    if strategy is None:
        return
    scope = contextlib.ExitStack()
    scope.enter_context(replicated(strategy))
    atexit.register(scope.close)
    values, worker = flags.FLAGS, worker_share()
    folder = worker_folder(Path(values.workdir), values.flags_into_string())
    if worker.index:
        print(f"Worker {worker.index + 1} of {worker.count}: the first one tells more.")
        values["workdir"].value = str(folder)
        atexit.register(shutil.rmtree, folder.parent, ignore_errors=True)
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
