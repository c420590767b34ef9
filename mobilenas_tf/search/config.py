"""Options of the searches. Imports no TensorFlow; defaults and help live here."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal


def _option(default: Any, help_text: str) -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class BudgetConfig:
    """What the found network may cost. Exactly one budget is given."""

    max_macs: float | None = _option(
        None, "Budget in multiply-adds, e.g. 5.7e6 (one multiply-add counts as one)."
    )
    max_params: float | None = _option(None, "Budget in trained parameters, e.g. 3e5.")

    def __post_init__(self) -> None:
        """Checks every field."""
        if (self.max_macs is None) == (self.max_params is None):
            raise ValueError(
                "exactly one of max_macs and max_params must be given. "
                f"Received: max_macs={self.max_macs}, max_params={self.max_params}"
            )
        if self.budget <= 0:
            raise ValueError(
                f"max_{self.metric} must be above 0. "
                f"Received: max_{self.metric}={self.budget}"
            )

    @property
    def metric(self) -> str:
        """Returns `macs` or `params`."""
        return "params" if self.max_macs is None else "macs"

    @property
    def budget(self) -> float:
        """Returns the budget's value."""
        return float(self.max_macs or self.max_params or 0.0)


@dataclasses.dataclass(frozen=True)
class FigsConfig:
    """FiGS: gates on every channel select and resize operators in one search."""

    space: str = _option(
        "figs_mobilenet_v2_32",
        "Search space: figs_mobilenet_v2, figs_mobilenet_v3 (hard-swish, "
        "squeeze-excite) or figs_quantized (ReLU6, no 7x7 kernels), for 224 px; with "
        "_96, _32 or (not v3) _16 behind it for these sizes.",
    )
    channel_divisor: int = _option(8, "Channel counts are multiples of this.")
    gate: Literal["logistic_sigmoid", "hard_concrete"] = _option(
        "logistic_sigmoid", "FiGS' gate, or the one of L0 regularization."
    )
    estimator: Literal["soft", "straight_through"] = _option(
        "soft",
        "logistic_sigmoid: use the relaxed sample, or the hard one with its gradient.",
    )
    penalty: Literal["probability", "sample"] = _option(
        "probability", "Penalise the analytic expected cost, or the sample's cost."
    )
    initial_logit: float = _option(
        2.5, "Log-odds of a channel being kept at the start (2.5: 92 %)."
    )
    temperature_start: float = _option(0.5, "logistic_sigmoid: first temperature.")
    temperature_end: float = _option(0.1, "logistic_sigmoid: last temperature.")
    gate_learning_rate: float | None = _option(
        None,
        "Adam's learning rate for the gates. By default 40 / steps, so that a gate can "
        "travel 40 log-odds during the search.",
    )
    warmup_fraction: float = _option(
        0.1, "Share of the search before the budget begins to press."
    )
    settle_fraction: float = _option(
        0.7, "Share of the search after which the expected cost is at the budget."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        if self.channel_divisor < 1:
            raise ValueError(
                "channel_divisor must be at least 1. "
                f"Received: channel_divisor={self.channel_divisor}"
            )
        for name in ("temperature_start", "temperature_end"):
            if not getattr(self, name) > 0:
                raise ValueError(
                    f"{name} must be above 0. Received: {name}={getattr(self, name)}"
                )
        if self.gate_learning_rate is not None and self.gate_learning_rate <= 0:
            raise ValueError(
                "gate_learning_rate must be above 0 or not given. "
                f"Received: gate_learning_rate={self.gate_learning_rate}"
            )
        if not 0 <= self.warmup_fraction < self.settle_fraction <= 1:
            raise ValueError(
                "warmup_fraction and settle_fraction must satisfy "
                "0 <= warmup_fraction < settle_fraction <= 1. Received: "
                f"{self.warmup_fraction} and {self.settle_fraction}"
            )
