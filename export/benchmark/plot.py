"""Pictures of measured latencies: compared, and against predictions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from export.benchmark.result import BenchmarkResult, short_names
from mobilenas_tf.whole_files import replace_when_whole

BAR_COLOR = "#94aecb"


def plot_latency(
    results: Sequence[BenchmarkResult], path: str | os.PathLike[str]
) -> None:
    """Writes a PNG with a bar for each result, in their order from the top.

    Bars end at the median; a line leads on to the p95, and dots are the repeats'
    medians (means, of a runner that tells none).

    Args:
        results: At least one.
        path: Of the PNG.
    """
    names = short_names([result.model for result in results])
    figure = Figure(figsize=(9, 1.2 + 0.5 * len(results)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for place, result in enumerate(results):
        axes.barh(place, result.median_ms, height=0.6, color=BAR_COLOR)
        if result.p95_ms is not None:
            reach = [result.median_ms, result.p95_ms]
            axes.plot(reach, [place, place], color="#333333", marker="|", zorder=2)
        axes.plot(
            result.repeat_medians_ms,
            [place] * len(result.repeat_medians_ms),
            linestyle="none",
            marker="o",
            markersize=4,
            markerfacecolor="none",
            color="#f58518",
            zorder=3,
        )
    axes.set_yticks(
        range(len(results)),
        [
            f"{name}\n{result.median_ms:.3g} ms"
            for name, result in zip(names, results, strict=True)
        ],
        parse_math=False,  # a name may have dollar signs
    )
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel(
        "latency of one image, ms: bar to the median, line to the p95, dots: repeats"
    )
    device = results[0].device
    num_threads = results[0].num_threads
    threads = "1 thread" if num_threads == 1 else f"{num_threads} threads"
    axes.set_title(f"{device.cpu}, {threads}, {device.runtime}")
    with replace_when_whole(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def plot_predictions(
    predicted_ms: Sequence[float],
    measured_ms: Sequence[float],
    path: str | os.PathLike[str],
) -> None:
    """Writes a PNG of measured against predicted latencies, with lines 5 % apart.

    Args:
        predicted_ms: One for each network.
        measured_ms: Of the same networks.
        path: Of the PNG.
    """
    figure = Figure(figsize=(5, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    limits = [0.9 * min(*predicted_ms, *measured_ms)]
    limits.append(1.1 * max(*predicted_ms, *measured_ms))
    for factor, style in ((0.95, ":"), (1.0, "-"), (1.05, ":")):
        line = [factor * limit for limit in limits]
        axes.plot(limits, line, style, color="#888888", linewidth=1)
    axes.plot(predicted_ms, measured_ms, "o", color="#4c78a8", markersize=5)
    axes.set_xlim(*limits)
    axes.set_ylim(*limits)
    axes.set_xlabel("predicted, ms")
    axes.set_ylabel("measured, ms (lines: equal, and 5 % off)")
    with replace_when_whole(Path(path)) as temporary:
        figure.savefig(temporary, dpi=120, format="png")
