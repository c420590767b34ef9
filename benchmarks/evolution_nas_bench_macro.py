"""Our evolution against random search and others, on a table of trained networks.

Every method looks for the front of accuracy over multiply-adds in NAS-Bench-Macro's
table by the same number of distinct evaluations; the hypervolumes of what they have
seen are compared over paired runs. One of the others is Optuna's: pip install optuna.

Run: python -m benchmarks.evolution_nas_bench_macro \
    --table=nas-bench-macro_cifar10.json
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.macro_table import Table, TableEntry, macro_space, the_table
from benchmarks.paired import paired_difference
from mobilenas_tf.one_shot_space import OneShotGenotype
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.evolution import Journal, evolve
from mobilenas_tf.spec import Architecture

_EVALUATIONS = flags.DEFINE_integer("evaluations", 200, "Distinct ones of a run.", 20)
_RUNS = flags.DEFINE_integer("runs", 30, "Of each method.", 2)

POPULATION, TOURNAMENT = 20, 8
OURS = "ours (pymoo's NSGA-II, repaired, nothing twice)"
RANDOM, AGING = "random search", "regularised evolution"
OPTUNA = "Optuna's NSGA-II"
# Where the hypervolume ends: the table's lowest accuracy and largest network.
_LOWEST_ACCURACY = 45.36

# (table, evaluations, seed) -> what was seen, in order
Method = Callable[[Table, int, int], list[TableEntry]]


def main(_: Sequence[str]) -> None:
    """Runs all methods, prints the table and one JSON object."""
    table = the_table()
    volumes = {
        name: [
            hypervolume(method(table, _EVALUATIONS.value, seed), table)
            for seed in range(_RUNS.value)
        ]
        for name, method in METHODS.items()
    }
    rows = [
        {
            "method": name,
            "hypervolume": float(np.mean(values)),
            "share of the whole table's": float(np.mean(values))
            / hypervolume(list(table.values()), table),
            **{
                f"ours_minus_{key}": value
                for key, value in paired_difference(volumes[OURS], values).items()
            },
        }
        for name, values in volumes.items()
    ]
    print(format_table(list(rows[0]), rows))
    by_name = {row["method"]: row for row in rows}
    evidence.finish(
        figures={"rows": rows, "hypervolumes": volumes},
        settings={
            "evaluations": _EVALUATIONS.value,
            "runs": _RUNS.value,
            "population": POPULATION,
        },
        targets=[
            evidence.target(
                f"hypervolume above that of {RANDOM}, lower end (95 %)",
                by_name[RANDOM]["ours_minus_low_95"],
                0.0,
                at_most=False,
            ),
            *(
                evidence.target(
                    f"hypervolume not below that of {name}, upper end (95 %)",
                    by_name[name]["ours_minus_high_95"],
                    0.0,
                    at_most=False,
                )
                for name in (AGING, OPTUNA)
            ),
        ],
    )


def hypervolume(seen: Sequence[TableEntry], table: Table) -> float:
    """Returns the area that is dominated, accuracy and multiply-adds scaled to 1."""
    from pymoo.indicators.hv import HV

    largest = max(entry.macs for entry in table.values())
    highest = max(entry.accuracy for entry in table.values())
    points = np.array(
        [
            [
                (highest - entry.accuracy) / (highest - _LOWEST_ACCURACY),
                entry.macs / largest,
            ]
            for entry in seen
        ]
    )
    indicator: Any = HV(ref_point=np.ones(2))
    return float(indicator(points))


def _ours(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    space = macro_space()
    with tempfile.TemporaryDirectory() as folder:
        found = evolve(
            space,
            lambda genotypes: [table[space.resolve(g)].accuracy for g in genotypes],
            Journal(Path(folder) / "journal.jsonl", space),
            {"macs": (lambda network: table[network].macs, np.inf)},
            population=POPULATION,
            # Most generations bring something new; the rest is cut off.
            generations=3 * evaluations // POPULATION,
            seed=seed,
        )
    return [table[space.resolve(row.genotype)] for row in found][:evaluations]


def _random(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    space, rng = macro_space(), np.random.default_rng(seed)
    seen: dict[Architecture, TableEntry] = {}
    while len(seen) < evaluations:
        network = space.resolve(space.sample(rng))
        seen.setdefault(network, table[network])
    return list(seen.values())


def _aging(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    """Real et al., arXiv:1802.01548; a cost's weight is drawn for each tournament."""
    space, rng = macro_space(), np.random.default_rng(seed)
    largest = max(entry.macs for entry in table.values())
    seen: dict[Architecture, TableEntry] = {}
    alive: list[OneShotGenotype] = []

    def look_up(genotype: OneShotGenotype) -> None:
        network = space.resolve(genotype)
        seen.setdefault(network, table[network])
        alive.append(genotype)

    for _ in range(POPULATION):
        look_up(space.sample(rng))
    limit = 20 * evaluations
    while len(seen) < evaluations and (limit := limit - 1):
        chosen = rng.choice(len(alive), min(TOURNAMENT, len(alive)), replace=False)
        weight = rng.uniform(0, 5)

        def value(genotype: OneShotGenotype, weight: float = weight) -> float:
            entry = table[space.resolve(genotype)]
            return entry.accuracy - weight * entry.macs / largest

        parent = max((alive[int(i)] for i in chosen), key=value)
        decision = space.decisions[int(rng.integers(len(space.decisions)))]
        others = [v for v in decision.values if v != parent[decision.path]]
        look_up({**parent, decision.path: others[int(rng.integers(len(others)))]})
        alive.pop(0)
    return list(seen.values())


def _optuna(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    try:
        import optuna  # pyright: ignore[reportMissingImports]  # optional
    except ImportError:
        raise SystemExit("error: Optuna is needed; pip install optuna") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = macro_space()
    seen: dict[Architecture, TableEntry] = {}

    def objective(trial: Any) -> tuple[float, float]:
        genotype = {
            each.path: trial.suggest_categorical(each.path, list(each.values))
            for each in space.decisions
        }
        network = space.resolve(genotype)
        entry = seen.setdefault(network, table[network])
        if len(seen) >= evaluations:
            trial.study.stop()
        return entry.accuracy, float(entry.macs)

    study = optuna.create_study(
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.NSGAIISampler(population_size=POPULATION, seed=seed),
    )
    study.optimize(objective, n_trials=10 * evaluations)
    return list(seen.values())


METHODS: dict[str, Method] = {
    OURS: _ours,
    RANDOM: _random,
    AGING: _aging,
    OPTUNA: _optuna,
}

if __name__ == "__main__":
    app.run(main)
