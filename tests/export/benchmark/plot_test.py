import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.benchmark.plot import BAR_COLOR, plot_latency
from tests.export.benchmark.result_test import RESULT


def _bar_lengths_px(path: Path) -> list[int]:
    """Returns the lengths of the bars, from the top."""
    color = [int(BAR_COLOR[start : start + 2], 16) for start in (1, 3, 5)]
    with Image.open(path) as image:
        is_bar = (np.asarray(image.convert("RGB")) == color).all(axis=-1)
    rows = np.flatnonzero(is_bar.any(axis=1))
    bars = np.split(rows, np.flatnonzero(np.diff(rows) > 5) + 1)
    columns = [np.flatnonzero(is_bar[bar].any(axis=0)) for bar in bars]
    return [int(found.max() - found.min() + 1) for found in columns]


def test_bars_are_as_long_as_the_medians(tmp_path: Path) -> None:
    medians_ms = 1.0, 2.0, 0.5
    results = [
        dataclasses.replace(RESULT, model=f"m{median}.tflite", median_ms=median)
        for median in medians_ms
    ]
    plot_latency(results, tmp_path / "plots" / "latency.png")
    lengths = _bar_lengths_px(tmp_path / "plots" / "latency.png")
    assert np.array(lengths) / lengths[0] == pytest.approx(medians_ms, rel=0.02)


@pytest.mark.parametrize("name", ["$\\frac{$.tflite", "a$b$c.tflite", "a\nb;'.tflite"])
def test_any_name_is_drawn(name: str, tmp_path: Path) -> None:
    plot_latency([dataclasses.replace(RESULT, model=name)], tmp_path / "latency.png")
    assert len(_bar_lengths_px(tmp_path / "latency.png")) == 1


def test_result_without_percentiles_is_drawn(tmp_path: Path) -> None:
    result = dataclasses.replace(RESULT, p90_ms=None, p95_ms=None)
    plot_latency([result], tmp_path / "latency.png")
    assert len(_bar_lengths_px(tmp_path / "latency.png")) == 1
