"""Options of the searches. Imports no TensorFlow; defaults and help live here."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mobilenas_tf.options import option, require, require_literals

Gate = Literal["logistic_sigmoid", "hard_concrete", "batch_norm_scale", "width_choice"]


@dataclasses.dataclass(frozen=True)
class BudgetConfig:
    """What the found networks may cost: one or more budgets of one kind."""

    max_macs: tuple[float, ...] = option(
        (),
        "Budget in multiply-adds, e.g. 5.7e6 (one multiply-add counts as one). "
        "Several, e.g. 8e6,6e6, give a network for each out of one search, which has "
        "less time for each than a search of its own.",
    )
    max_params: tuple[float, ...] = option(
        (), "Budget in trained parameters, e.g. 3e5, or several, as above."
    )
    max_ms: tuple[float, ...] = option(
        (), "Budget in milliseconds by --latency_table, or several, as above."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        given = [name for name, value in dataclasses.asdict(self).items() if value]
        if len(given) != 1:
            raise ValueError(
                "exactly one of max_macs, max_params and max_ms must be given. "
                f"Received: {', '.join(given) or 'none'}"
            )
        if min(self.budgets) <= 0 or len(set(self.budgets)) < len(self.budgets):
            raise ValueError(
                f"max_{self.metric} must be distinct numbers above 0. "
                f"Received: max_{self.metric}={getattr(self, given[0])}"
            )

    @property
    def metric(self) -> str:
        """Returns `macs`, `params` or `ms`."""
        if self.max_ms:
            return "ms"
        return "macs" if self.max_macs else "params"

    @property
    def budgets(self) -> tuple[float, ...]:
        """Returns the budgets in falling order."""
        return tuple(sorted(getattr(self, f"max_{self.metric}"), reverse=True))


@dataclasses.dataclass(frozen=True)
class FigsConfig:
    """FiGS: gates on every channel select and resize operators in one search."""

    space: str = option(
        "figs_mobilenet_v2_32",
        "Search space: figs_mobilenet_v2, figs_mobilenet_v3 (hard-swish, "
        "squeeze-excite) or figs_quantized (ReLU6, no 7x7 kernels), for 224 px; with "
        "_96, _32 or (not v3) _16 behind it for these sizes, or (not v3) _160, small "
        "and for detectors; figs_atomnas (kernels only), figs_fbnet (FBNet's stages) "
        "and figs_widths (3x3 kernels only), for 224 px or with _32; or a one-shot "
        "space, e.g. one_shot_32.",
    )
    channel_divisor: int = option(8, "Channel counts are multiples of this.")
    gate: Gate = option(
        "logistic_sigmoid",
        "FiGS' gate, the one of L0 regularization, (AtomNAS) none: L1 on the scales of "
        "batch norm; or (FBNetV2) a Gumbel-weighted choice among channel counts.",
    )
    estimator: Literal["soft", "straight_through"] = option(
        "soft",
        "logistic_sigmoid: use the relaxed sample, or the hard one with its gradient.",
    )
    penalty: Literal["probability", "sample"] = option(
        "probability", "Penalise the analytic expected cost, or the sample's cost."
    )
    initial_logit: float = option(
        2.5, "Log-odds of a channel being kept at the start (2.5: 92 %)."
    )
    temperature_start: float = option(0.5, "logistic_sigmoid: first temperature.")
    temperature_end: float = option(0.1, "logistic_sigmoid: last temperature.")
    gate_learning_rate: float | None = option(
        None,
        "Adam's learning rate for the gates. By default 140 / steps, so that a gate "
        "can travel 140 log-odds during the search.",
    )
    live_shrinking: bool = option(
        True,
        "Cut surely dead channels out of the supernet while searching (not for "
        "width_choice).",
    )
    dead_below: float = option(
        0.05,
        "live_shrinking: keep probability under which a channel is surely dead (not "
        "for batch_norm_scale, where a closed channel stays closed).",
    )
    retrace_steps: float = option(
        40.0,
        "live_shrinking: what going on with a narrower network costs, in training "
        "steps; a cut must save more.",
    )
    warmup_fraction: float = option(
        0.05, "Share of the search before the budget begins to press."
    )
    settle_fraction: float = option(
        0.4,
        "Share of the search after which the expected cost is at the budget; with "
        "several, each has a stage of these proportions.",
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        require(
            self.gate != "batch_norm_scale" or self.penalty == "probability",
            "probability with gate=batch_norm_scale, which does not sample",
            "penalty",
            self.penalty,
        )
        require(
            self.channel_divisor >= 1,
            "at least 1",
            "channel_divisor",
            self.channel_divisor,
        )
        for name in ("temperature_start", "temperature_end"):
            value = getattr(self, name)
            require(value > 0, "above 0", name, value)
        require(0 < self.dead_below < 0.5, "in (0, 0.5)", "dead_below", self.dead_below)
        require(
            self.retrace_steps >= 0, "0 or more", "retrace_steps", self.retrace_steps
        )
        rate = self.gate_learning_rate
        require(
            rate is None or rate > 0,
            "above 0 or not given",
            "gate_learning_rate",
            rate,
        )
        require(
            0 <= self.warmup_fraction < self.settle_fraction,
            "from 0 to below settle_fraction",
            "warmup_fraction",
            self.warmup_fraction,
        )
        require(
            self.settle_fraction <= 1,
            "at most 1",
            "settle_fraction",
            self.settle_fraction,
        )

    @property
    def shrinks(self) -> bool:
        """Returns whether the supernet is narrowed on the way."""
        return self.live_shrinking and self.gate != "width_choice"


@dataclasses.dataclass(frozen=True)
class OperatorBudgetConfig:
    """What the network of a search among operators may cost."""

    max_ms: float | None = option(
        None, "Budget in milliseconds, as --latency_table predicts them."
    )
    max_macs: float | None = option(None, "Budget in multiply-adds.")
    max_params: float | None = option(None, "Budget in trained parameters.")
    max_bit_macs: float | None = option(
        None,
        "Budget in bit operations: multiply-adds times bits of weights and of "
        "activations; what has no bit widths counts as 8 x 8.",
    )
    max_weight_bytes: float | None = option(
        None, "Budget in bytes of trained parameters, at the bits that they have."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        given = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        }
        if len(given) != 1 or min(given.values()) <= 0:
            raise ValueError(
                "exactly one of max_ms, max_macs, max_params, max_bit_macs and "
                f"max_weight_bytes must be given, above 0. Received: {given or 'none'}"
            )

    @property
    def metric(self) -> str:
        """Returns `ms`, `macs`, `params`, `bit_macs` or `weight_bytes`."""
        budgets = dataclasses.asdict(self)
        (given,) = (name for name, value in budgets.items() if value is not None)
        return given.removeprefix("max_")

    @property
    def value(self) -> float:
        """Returns the budget."""
        return float(getattr(self, f"max_{self.metric}"))


@dataclasses.dataclass(frozen=True)
class DnasConfig:
    """DNAS (FBNet): a supernet of operators whose choices are trained with weights."""

    space: str = option(
        "fbnet_32",
        "Space of operators: fbnet (224 px), fbnet_96 or fbnet_32; of bit widths: "
        "bits_mobilenet_v2_224 or bits_mobilenet_v2_32.",
    )
    sampling: Literal["mixture", "path"] = option(
        "path",
        "Run all candidates in a step, weighted (as FBNet does), or only the drawn "
        "ones, which costs as much as one network.",
    )
    has_shared_kernels: bool = option(
        True,
        "Candidates of a place use slices of the same kernels (the centre of the "
        "largest depthwise kernel, the first channels), each with batch norms of its "
        "own, so that a step teaches all of them something. FBNet's have kernels of "
        "their own.",
    )
    path_gradient: Literal["comparison", "straight_through"] = option(
        "comparison",
        "path: learn from the losses of several drawn networks on the same images, or "
        "by the gradient that reaches the one drawn.",
    )
    num_paths: int = option(
        8, "comparison: networks that are compared in a step, at least 2."
    )
    architecture_share: float = option(
        0.2, "Share of the training images that the choices learn by, and no weights."
    )
    architecture_learning_rate: float | None = option(
        None,
        "Adam's learning rate for the choices' logits. By default 20 / steps, so that "
        "a logit can travel 20 in the search.",
    )
    architecture_weight_decay: float = option(
        0.0, "Decay of the choices' logits towards equal probabilities."
    )
    temperature_start: float = option(
        5.0,
        "First temperature of the samples, of mixture, and of path with "
        "straight_through: comparison draws without one.",
    )
    temperature_end: float = option(0.1, "Last temperature of the samples, likewise.")
    warmup_fraction: float = option(
        0.1, "Share of the search in which only the weights learn."
    )
    settle_fraction: float = option(
        0.6, "Share of the search after which the expected cost is at the budget."
    )
    cost_loss: Literal["budget", "product", "sum"] = option(
        "budget",
        "How the cost joins the choices' loss: as a penalty that holds the budget, as "
        "loss * alpha * log(cost)^beta (FBNet; latencies in microseconds), or as loss "
        "+ alpha * (cost / target - 1) (ProxylessNAS). The found network is within the "
        "budget in any case.",
    )
    cost_alpha: float = option(0.2, "Of product and sum.")
    cost_beta: float = option(0.6, "Of product.")
    num_samples: int = option(
        0, "Further networks, drawn from the choices, within the budget, ranked."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        share = self.architecture_share
        require(0 < share < 1, "in (0, 1)", "architecture_share", share)
        for name in ("temperature_start", "temperature_end", "cost_alpha"):
            value = getattr(self, name)
            require(value > 0, "above 0", name, value)
        for name in ("architecture_weight_decay", "num_samples"):
            value = getattr(self, name)
            require(value >= 0, "0 or more", name, value)
        require(self.num_paths >= 2, "at least 2", "num_paths", self.num_paths)
        rate = self.architecture_learning_rate
        require(
            rate is None or rate > 0,
            "above 0 or not given",
            "architecture_learning_rate",
            rate,
        )
        require(
            0 <= self.warmup_fraction < self.settle_fraction <= 1,
            "from 0 to below settle_fraction, which is at most 1",
            "warmup_fraction",
            self.warmup_fraction,
        )

    @property
    def compared_paths(self) -> int | None:
        """Returns how many networks a step of the choices compares, None for none."""
        is_compared = self.sampling == "path" and self.path_gradient == "comparison"
        return self.num_paths if is_compared else None


@dataclasses.dataclass(frozen=True)
class OneShotConfig:
    """BS-NAS: a one-shot supernet that sheds operations, then evolution."""

    space: str = option(
        "one_shot_32",
        "One-shot space: one_shot (224 px), one_shot_96, one_shot_32, "
        "one_shot_widths_32 (channels and expansions only) or nas_bench_macro.",
    )
    has_shared_kernels: bool = option(
        True, "Operations of a place use slices of the same kernels."
    )
    has_sandwich: bool = option(
        True, "Every step trains the widest and the narrowest network too."
    )
    has_distillation: bool = option(
        True, "The others of a step learn from the widest one's answers."
    )
    sampled_networks: int = option(2, "Random networks in a step.")
    is_cost_uniform: bool = option(
        True, "Spread random networks evenly over multiply-adds, not over genotypes."
    )
    widen_from: float = option(
        0.1, "Share of the training before which all channels are the widest."
    )
    widen_to: float = option(
        0.4, "Share of the training from which all channel counts are drawn."
    )
    shrink_by: Literal["score", "angle", "random", "none"] = option(
        "score",
        "What turns operations off: the scores of networks that have them, how little "
        "their weights have turned, chance, or nothing.",
    )
    shrink_from: float = option(0.5, "Share of the training at the first turn-offs.")
    shrink_to: float = option(0.8, "Share of the training at the last turn-offs.")
    shrink_rounds: int = option(3, "How often operations are turned off.")
    shrink_networks: int = option(64, "Networks that are scored for a round.")
    shrink_places: int = option(2, "Places that may lose an operation in a round.")
    calibration_images: int = option(
        256, "Training images that set batch norms' statistics of a scored network."
    )
    score_by: Literal["likelihood", "accuracy"] = option(
        "likelihood",
        "What a network's score is: the geometric mean of the probabilities that it "
        "gives the right classes, or its accuracy.",
    )
    score_images: int = option(1024, "Validation images that score a network.")
    population: int = option(32, "Networks of a generation of the evolution.")
    generations: int = option(15, "Generations, the random first one included.")

    def __post_init__(self) -> None:
        """Checks every field."""
        require_literals(self)
        for name in (
            *("sampled_networks", "shrink_rounds", "shrink_networks", "shrink_places"),
            *("calibration_images", "score_images", "generations"),
        ):
            value = getattr(self, name)
            require(value >= 1, "at least 1", name, value)
        require(self.population >= 4, "at least 4", "population", self.population)
        for start, end in (("widen_from", "widen_to"), ("shrink_from", "shrink_to")):
            first, last = getattr(self, start), getattr(self, end)
            require(0 <= first <= last <= 1, f"from 0 to {end} <= 1", start, first)


@dataclasses.dataclass(frozen=True)
class OneShotBudgetConfig:
    """What the networks of a one-shot search may cost: one kind or both."""

    max_macs: float | None = option(None, "Budget in multiply-adds, e.g. 4e6.")
    max_ms: float | None = option(None, "Budget in milliseconds by --latency_table.")

    def __post_init__(self) -> None:
        values = [value for value in (self.max_macs, self.max_ms) if value is not None]
        if not values or min(values) <= 0:
            raise ValueError(
                "max_macs or max_ms must be given, above 0. "
                f"Received: max_macs={self.max_macs}, max_ms={self.max_ms}"
            )


@dataclasses.dataclass(frozen=True)
class JointBudgetConfig:
    """What the networks of a joint search may cost: one kind or several."""

    max_macs: float | None = option(None, "Budget in multiply-adds, e.g. 4e6.")
    max_params: float | None = option(None, "Budget in trained parameters.")
    max_ms: float | None = option(None, "Budget in milliseconds by --latency_table.")

    def __post_init__(self) -> None:
        """Checks every field."""
        if not self.budgets or min(self.budgets.values()) <= 0:
            raise ValueError(
                "max_macs, max_params or max_ms must be given, above 0. Received: "
                f"{self.budgets or 'none'}"
            )

    @property
    def budgets(self) -> dict[str, float]:
        """Budgets by metric."""
        return {
            name.removeprefix("max_"): value
            for name, value in dataclasses.asdict(self).items()
            if value is not None
        }


@dataclasses.dataclass(frozen=True)
class JointConfig:
    """JointNAS (FBNetV3): network and recipe, by what a predictor learns of trainings.

    Source of the defaults: ours, for tens of trainings; the paper has thousands.
    """

    space: str = option(
        "fbnet_v3_32", "Space of networks: fbnet_v3 (224 px) or fbnet_v3_32."
    )
    evaluations: int = option(64, "Candidates to train, all rounds together.")
    first_round: int = option(
        16,
        "Candidates of the first round: spread evenly, trained for the whole schedule.",
    )
    batch: int = option(8, "Candidates of every later round.")
    coarse_share: float = option(
        0.6, "Share of the evaluations after which rounds are fine."
    )
    pool: int = option(
        4096, "Candidates that coarse rounds choose from, and that teach the encoder."
    )
    min_rank_correlation: float = option(
        0.92,
        "Later rounds stop at the first epoch whose ranking of the first round's "
        "candidates correlates with the last epoch's as much as this.",
    )
    optimism: float = option(
        0.5, "How much of a prediction's uncertainty is added to it when choosing."
    )
    parents: int = option(50, "Fine rounds: candidates that have children.")
    children: int = option(200, "Fine rounds: new candidates of a generation.")
    patience: int = option(
        4, "Fine rounds: generations without a better one after which to stop."
    )

    def __post_init__(self) -> None:
        """Checks every field."""
        for name in ("batch", "parents", "children", "patience"):
            value = getattr(self, name)
            require(value >= 1, "at least 1", name, value)
        require(self.first_round >= 4, "at least 4", "first_round", self.first_round)
        for name in ("evaluations", "pool"):
            value = getattr(self, name)
            least = self.first_round
            require(value >= least, f"at least first_round, {least}", name, value)
        share = self.coarse_share
        require(0 <= share <= 1, "in [0, 1]", "coarse_share", share)
        correlation = self.min_rank_correlation
        require(0 < correlation <= 1, "in (0, 1]", "min_rank_correlation", correlation)
        require(self.optimism >= 0, "0 or more", "optimism", self.optimism)
