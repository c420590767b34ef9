"""The light feature pyramid against plain SSDLite, at equal multiply-adds.

MobileNetV2 is made so narrow under each head that the whole detector costs the same.
Both are trained from scratch with the same scenes, order and recipe, and judged on test
scenes that took no part.

Run: python -m benchmarks.detection_heads
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from absl import app, flags

from benchmarks import evidence
from benchmarks.detection_jobs import (
    HEAD,
    DetectionProtocol,
    mean_figures,
    narrow_detector,
    precision,
    protocol,
    run_training,
)
from benchmarks.jobs import Job, results_folder, run_jobs, seeds, workdir
from benchmarks.paired import paired_difference
from detection.config import HeadConfig
from mobilenas_tf.reporting.terminal import format_table

_MACS = flags.DEFINE_float("max_macs", 40e6, "Budget of the whole detector.")

BACKBONE = "mobilenet_v2"
HEADS = {"ssdlite": HEAD, "fpnlite": HeadConfig(head="fpnlite")}


def main(_: Sequence[str]) -> None:
    """Runs all jobs, prints the table and one JSON object."""
    jobs = [
        Job(f"{name}_{seed}", {**_settings(name), "seed": seed})
        for seed in seeds()
        for name in HEADS
    ]
    results = run_jobs(jobs, _work, results_folder())
    trainings = {
        name: [results[f"{name}_{seed}"] for seed in seeds()] for name in HEADS
    }
    test_map = {name: precision(trainings[name]) for name in HEADS}
    rows = [{"head": name, **mean_figures(trainings[name])} for name in HEADS]
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures={
            "rows": rows,
            "test_map": test_map,
            "fpnlite_minus_ssdlite_points": paired_difference(
                test_map["fpnlite"], test_map["ssdlite"]
            ),
            "total_cpu_seconds": sum(r["cpu_seconds"] for r in results.values()),
        },
        settings={
            "backbone": BACKBONE,
            "max_macs": _MACS.value,
            "seeds": len(seeds()),
            **{name: _settings(name) for name in HEADS},
        },
        targets=[],
    )


def _protocol(head: str) -> DetectionProtocol:
    return dataclasses.replace(protocol(), head=HEADS[head])


def _settings(head: str) -> dict[str, Any]:
    return _protocol(head).settings() | {"max_macs": _MACS.value}


def _work(job: Job, _: Mapping[str, Any]) -> dict[str, Any]:
    head, seed = job.name.split("_")
    shared = _protocol(head)
    detector = narrow_detector(shared, BACKBONE, metric="macs", budget=_MACS.value)
    return run_training(shared, detector, seed=int(seed), folder=workdir() / job.name)


if __name__ == "__main__":
    app.run(main)
