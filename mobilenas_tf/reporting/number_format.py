"""How figures read, by the name of what they count: the same in page and terminal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TypeGuard

MISSING = "–"
# What a budget may count.
COST_NAMES = {
    "macs": "multiply-adds",
    "params": "parameters",
    "ms": "latency",
    "bit_macs": "bit operations",
    "weight_bytes": "bytes of weights",
}


@dataclasses.dataclass(frozen=True)
class Unit:
    """Suffix and factor of a quantity; `decimals` None means 4 significant digits."""

    suffix: str = ""
    factor: float = 1.0
    decimals: int | None = None

    def format(self, value: float) -> str:
        """Returns `value`, which is not scaled yet, with its unit."""
        scaled = value * self.factor
        decimals = self.decimals
        if decimals is None:
            magnitude = math.floor(math.log10(abs(scaled))) if scaled else 3
            decimals = min(3, max(0, 3 - magnitude))
        return f"{scaled:,.{decimals}f}{self.suffix}"


_UNITS = {
    "accuracy": Unit(" %", 100, 2),
    "agreement": Unit(" %", 100, 2),
    "ap": Unit("", 1, 3),
    "ap50": Unit("", 1, 3),
    "ap75": Unit("", 1, 3),
    "ar": Unit("", 1, 3),
    "bytes": Unit(" kB", 1e-3),
    "db": Unit(" dB", 1, 1),
    "macs": Unit(" M", 1e-6),
    "ms": Unit(" ms", 1, 3),
    "params": Unit(" k", 1e-3),
    "points": Unit(" points", 1, 2),
    "precision": Unit("", 1, 3),
    "recall": Unit("", 1, 3),
    "score": Unit("", 1, 3),
    "share": Unit(" %", 100, 2),
    "step": Unit("", 1, 0),
}
_HEADINGS = {
    "ap": "AP",
    "ap50": "AP50",
    "ap75": "AP75",
    "ar": "AR",
    "budget_macs": "budget",
    "budget_params": "budget",
    "file_bytes": "file size",
    "inherited_validation_ap": "inherited validation mAP",
    "large_ap": "AP large",
    "macs": "MACs",
    "medium_ap": "AP medium",
    "model_bytes": "file size",
    "params": "parameters",
    "share": "share of class",
    "small_ap": "AP small",
    "top1_agreement": "top-1 agreement",
}
_DROPPED_WORDS = ("bytes", "db", "ms", "points")


def find_unit(name: str) -> Unit | None:
    """Returns the unit that the last word of a name stands for, None for a plain one.

    `macs` come in millions, `params` in thousands, `*_accuracy` in percent, `*_bytes`
    in kB of 1,000 bytes, `*_ms` in milliseconds, `*_ap` as shares with 3 decimals.
    """
    return _UNITS.get(name.rsplit("_", 1)[-1])


def format_heading(name: str) -> str:
    """Returns the name for people; units that the values carry are left out."""
    if name in _HEADINGS:
        return _HEADINGS[name]
    words = name.split("_")
    if len(words) > 1 and words[-1] in _DROPPED_WORDS:
        words.pop()
    if len(words) > 1 and words[0] == "num":
        words.pop(0)
    return " ".join(words)


def is_number(value: object) -> TypeGuard[int | float]:
    """Returns whether `value` is a finite number (a truth value is none)."""
    return (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
    )


def format_value(name: str, value: object) -> str:
    """Returns one JSON value of the column `name` for people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _format_number(name, value)
    if isinstance(value, (list, tuple)):
        return ", ".join(format_value(name, item) for item in value)
    return MISSING if value is None else str(value)


def _format_number(name: str, value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    if unit := find_unit(name):
        return unit.format(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def format_budgets(budgets: Mapping[str, float]) -> str:
    """Returns budgets by metric in words, such as `4.000 M multiply-adds`."""
    return " and ".join(
        f"{format_value(metric, budget)} {COST_NAMES[metric]}"
        for metric, budget in budgets.items()
    )
