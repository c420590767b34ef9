"""Memory of a long search, and what saving takes of its time.

A FiGS search on the embedded digits runs for some minutes, with the defaults of
`tools.search_figs`, while its resident memory is sampled; then it is stopped by
SIGTERM, as a scheduler does. Growth is the median of the last minute over that of the
minute behind the first five, in which the step is traced and libraries are loaded.

Run: python -m benchmarks.soak --minutes=60
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import evidence
from mobilenas_tf.reporting.terminal import format_table

_MINUTES = flags.DEFINE_float("minutes", 60.0, "Length of the search.", 1.0)
_SPACE = flags.DEFINE_string("space", "figs_quantized_16", "Space of the search.")
_WARMUP = flags.DEFINE_float("warmup_minutes", 5.0, "Before growth counts.", 0.0)
_SAMPLE_SECONDS = 5.0
_EPOCHS = 10**6  # more than it can come to
_MAX_GROWTH, _MAX_SHARE = 0.05, 0.02


@dataclasses.dataclass
class Samples:
    """Resident memory by seconds since the start, in MiB."""

    seconds: list[float]
    mib: list[float]

    def take(self, started: float) -> None:
        """Adds one of this process."""
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        self.seconds.append(time.monotonic() - started)
        self.mib.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)

    def median(self, start: float, end: float) -> float:
        """Returns the median between two times, in MiB."""
        pairs = zip(self.seconds, self.mib, strict=True)
        return statistics.median(mib for at, mib in pairs if start <= at <= end)


def main(_: Sequence[str]) -> None:
    """Searches, samples, prints a table and one JSON object."""
    samples, saves = Samples([], []), []
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        sampled(samples, started, 60 * _MINUTES.value),
        timed_saves(saves),
    ):
        epochs = search(Path(folder))
    seconds = time.monotonic() - started
    warmup = 60 * _WARMUP.value
    before = samples.median(warmup, warmup + 60)
    after = samples.median(seconds - 60, seconds)
    row = {
        "minutes": seconds / 60,
        "epochs": epochs,
        "memory_mib": before,
        "memory_at_end_mib": after,
        "growth": after / before - 1,
        "checkpoints": len(saves),
        "saving_seconds": sum(saves),
        "saving_share": sum(saves) / seconds,
    }
    print(format_table(list(row), [row]))
    evidence.finish(
        figures={**row, "samples_mib": samples.mib, "samples_at_s": samples.seconds},
        settings={"space": _SPACE.value, "warmup_minutes": _WARMUP.value},
        targets=[
            evidence.target(
                "growth of resident memory", row["growth"], _MAX_GROWTH, at_most=True
            ),
            evidence.target(
                "share of the time that saving takes",
                row["saving_share"],
                _MAX_SHARE,
                at_most=True,
            ),
        ],
    )


@contextlib.contextmanager
def sampled(samples: Samples, started: float, seconds: float) -> Iterator[None]:
    """Samples memory for the length of a block, and ends it after some seconds."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(_SAMPLE_SECONDS):
            samples.take(started)
            if time.monotonic() - started > seconds:
                os.kill(os.getpid(), signal.SIGTERM)
                return

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


@contextlib.contextmanager
def timed_saves(seconds: list[float]) -> Iterator[None]:
    """Notes what each checkpoint takes."""
    from mobilenas_tf.training.checkpoints import Checkpoints

    save = Checkpoints.save

    def timed(self: Any, *arguments: Any) -> None:
        started = time.monotonic()
        save(self, *arguments)
        seconds.append(time.monotonic() - started)

    owner: Any = Checkpoints
    owner.save = timed
    try:
        yield
    finally:
        owner.save = save


def search(folder: Path) -> int:
    """Searches until SIGTERM comes; returns the number of epochs that were done."""
    from mobilenas_tf.interruption import Interrupted
    from mobilenas_tf.search.config import BudgetConfig, FigsConfig
    from mobilenas_tf.search.figs import search_figs
    from mobilenas_tf.search.width_budget import width_budget
    from mobilenas_tf.spaces import named_space, space_image_size
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.config import (
        AugmentationConfig,
        DataConfig,
        OptimizerConfig,
        TrainingConfig,
    )
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.run_dir import RunDir

    config = FigsConfig(space=_SPACE.value)
    data = load_classification_data(
        DataConfig(image_size_px=space_image_size(config.space)), AugmentationConfig()
    )
    space = named_space(config.space, num_classes=data.num_classes)
    training = TrainingConfig(epochs=_EPOCHS, dropout_rate=0.0)
    run = RunDir(folder)
    try:
        search_figs(
            space,
            classification_task(data, label_smoothing=training.label_smoothing),
            data,
            run,
            config=config,
            budget=width_budget(space, BudgetConfig(max_macs=(3e5,))),
            optimizer=OptimizerConfig(),
            training=training,
        )
    except Interrupted as error:
        print(error)
    return len(run.read_metrics())


if __name__ == "__main__":
    app.run(main)
