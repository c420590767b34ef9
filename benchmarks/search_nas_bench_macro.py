"""The joint search's two stages against other searches, on a table of trained networks.

Every method looks for the most accurate network of NAS-Bench-Macro's table by the same
number of distinct evaluations, with and without a cap on multiply-adds; what is best
after so many is compared over paired runs. The guided ones begin with as many random
networks and have as large rounds. One of the others is Optuna's: pip install optuna.

Run: python -m benchmarks.search_nas_bench_macro --table=nas-bench-macro_cifar10.json
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from benchmarks import evidence
from benchmarks.guides import Predict, gaussian, ridge
from benchmarks.macro_table import Table, TableEntry, macro_space, the_table
from benchmarks.paired import paired_difference
from mobilenas_tf.decisions import Options, choice_features
from mobilenas_tf.one_shot_space import OneShotGenotype
from mobilenas_tf.reporting.terminal import format_table
from mobilenas_tf.search.config import JointConfig

_RUNS = flags.DEFINE_integer("runs", 30, "Of each method.", 2)
_COUNTS = flags.DEFINE_list("evaluations", ["20", "50", "100"], "After so many.")
_CAP = flags.DEFINE_float("cap", 50e6, "Of multiply-adds.")

FIRST, BATCH = 10, 5
POPULATION, TOURNAMENT = 25, 8
OURS = "ours"
RANDOM, AGING, TPE = "random search", "regularised evolution", "Optuna's TPE"
RIDGE, GAUSSIAN = "ridge", "Gaussian process"

# (networks within the cap, evaluations, seed) -> what was seen, in order
Method = Callable[[Table, int, int], list[TableEntry]]


def main(_: Sequence[str]) -> None:
    """Runs all methods, prints the tables and one JSON object."""
    _import_optuna()
    table = _whole_table()
    counts = [int(count) for count in _COUNTS.value]
    rows, differences = [], []
    for cap in (None, _CAP.value):
        under = {n: e for n, e in table.items() if cap is None or e.macs <= cap}
        found: dict[str, list[list[float]]] = {}
        for name, method in METHODS.items():
            runs = [method(under, max(counts), seed) for seed in range(_RUNS.value)]
            found[name] = [
                [max(e.accuracy for e in run[:count]) for run in runs]
                for count in counts
            ]
            means = [round(float(np.mean(each)), 3) for each in found[name]]
            print(name, means, flush=True)
        for name, by_count in found.items():
            for count, values, ours in zip(counts, by_count, found[OURS], strict=True):
                place = {"cap": cap, "evaluations": count, "method": name}
                rows.append(place | {"best accuracy": float(np.mean(values))})
                differences.append(place | paired_difference(ours, values))
    print(format_table(list(rows[0]), rows))
    print(format_table(list(differences[0]), differences))
    evidence.finish(
        figures={"rows": rows, "ours_minus": differences},
        settings={"runs": _RUNS.value, "first": FIRST, "batch": BATCH},
        targets=[
            evidence.target(
                f"best after {row['evaluations']}, cap {row['cap'] or 'none'}: ours - "
                f"{row['method']}, {end.replace('_', ' ')} %",
                row[end],
                0.0,
                at_most=False,
            )
            for row in differences
            if row["method"] != OURS
            for end in ["low_95" if row["method"] in (RANDOM, AGING) else "high_95"]
        ],
    )


def _ours(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    from mobilenas_tf.search.joint import JointSearch
    from mobilenas_tf.search.joint_journal import Evaluation, EvaluationJournal
    from mobilenas_tf.search.joint_problem import JointProblem
    from mobilenas_tf.search.workers import InProcess

    def found(choices: Mapping[str, Any]) -> TableEntry:
        return _entry(tuple(choices[path] for path in _paths()))

    problem = JointProblem(
        macro_space().name,
        architecture=_decisions(),
        recipe=(),
        network=found,
        costs=lambda entry: {"macs": entry.macs, "params": entry.params},
    )
    cap = max(entry.macs for entry in table.values())
    config = JointConfig(
        evaluations=evaluations, first_round=FIRST, batch=BATCH, pool=2048
    )
    with tempfile.TemporaryDirectory() as folder:
        journal = EvaluationJournal(Path(folder) / "j.jsonl", problem, measure="table")
        search = JointSearch(
            problem, {"macs": cap}, journal, config=config, epochs=1, seed=seed
        )
        workers = InProcess(
            lambda order: Evaluation(order.choices, (found(order.choices).accuracy,))
        )
        search.run(workers)
        return [found(each.choices) for each in journal.evaluations]


def _decisions() -> tuple[Options, ...]:
    return tuple(Options(each.path, each.values) for each in macro_space().decisions)


@functools.cache
def _paths() -> tuple[str, ...]:
    return tuple(each.path for each in macro_space().decisions)


@functools.cache
def _whole_table() -> Table:
    return the_table()


@functools.cache
def _entry(values: tuple[str, ...]) -> TableEntry:
    """Returns the network of a value for each decision: searches try each often."""
    genotype = dict(zip(_paths(), values, strict=True))
    return _whole_table()[macro_space().resolve(genotype)]


def _random(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    rng, entries = np.random.default_rng(seed), list(table.values())
    chosen = rng.choice(len(entries), evaluations, replace=False)
    return [entries[int(i)] for i in chosen]


def _aging(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    """Real et al., arXiv:1802.01548; children over the cap are drawn anew."""
    space, rng = macro_space(), np.random.default_rng(seed)
    alive = _random(table, POPULATION, seed)
    seen = dict.fromkeys(map(id, alive))
    found = list(alive)
    for _ in range(100 * evaluations):
        if len(found) >= evaluations:
            break
        chosen = rng.choice(len(alive), min(TOURNAMENT, len(alive)), replace=False)
        parent = max((alive[int(i)] for i in chosen), key=lambda e: e.accuracy)
        decision = space.decisions[int(rng.integers(len(space.decisions)))]
        others = [v for v in decision.values if v != parent.genotype[decision.path]]
        genotype: OneShotGenotype = {
            **parent.genotype,
            decision.path: others[int(rng.integers(len(others)))],
        }
        child = table.get(space.resolve(genotype))
        if child is None:
            continue
        alive = [*alive[1:], child]
        if id(child) not in seen:
            seen[id(child)] = None
            found.append(child)
    return found[:evaluations]


def _tpe(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
    optuna = _import_optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space, found = macro_space(), {}

    def objective(trial: Any) -> float:
        genotype = {
            each.path: trial.suggest_categorical(each.path, list(each.values))
            for each in space.decisions
        }
        entry = table.get(space.resolve(genotype))
        if entry is None:
            raise optuna.TrialPruned  # over the cap: told to the sampler, not counted
        found[id(entry)] = entry
        if len(found) >= evaluations:
            trial.study.stop()
        return entry.accuracy

    sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST)
    study = optuna.create_study(direction="maximize", sampler=sampler)
    study.optimize(objective, n_trials=10 * evaluations)
    return list(found.values())


def _import_optuna() -> Any:
    try:
        import optuna  # pyright: ignore[reportMissingImports]  # optional
    except ImportError:
        raise SystemExit("error: Optuna is needed; pip install optuna") from None
    return optuna


def _guided(predict: Predict, *, with_macs: bool) -> Method:
    """Returns a search that looks up what a predictor puts first."""

    def method(table: Table, evaluations: int, seed: int) -> list[TableEntry]:
        entries = list(table.values())
        x = np.stack([choice_features(_decisions(), e.genotype) for e in entries])
        if with_macs:
            macs = np.log([entry.macs for entry in entries])
            scaled = (macs - macs.mean()) / macs.std()
            x = np.concatenate([x, scaled[:, None]], axis=1)
        rng = np.random.default_rng(seed)
        known = list(rng.choice(len(entries), FIRST, replace=False))
        while len(known) < evaluations:
            y = np.array([entries[int(i)].accuracy for i in known])
            scores = predict(x[known], y, x)
            scores[known] = -np.inf
            best = np.argsort(-scores)[: min(BATCH, evaluations - len(known))]
            known += [int(i) for i in best]
        return [entries[int(i)] for i in known]

    return method


METHODS: dict[str, Method] = {
    OURS: _ours,
    RANDOM: _random,
    AGING: _aging,
    TPE: _tpe,
    RIDGE: _guided(ridge, with_macs=False),
    GAUSSIAN: _guided(gaussian, with_macs=True),
}

if __name__ == "__main__":
    app.run(main)
