import dataclasses
import itertools

import numpy as np
import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.width_latency import width_parts
from mobilenas_tf.json_io import read_architecture, read_json
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, load_network
from mobilenas_tf.search.config import BudgetConfig, FigsConfig
from mobilenas_tf.search.figs import (
    check_gate,
    check_search,
    search_figs,
)
from mobilenas_tf.search.width_budget import width_budget
from mobilenas_tf.space import SearchSpace, width_space
from mobilenas_tf.spec import SqueezeExcite
from mobilenas_tf.training.classification import classification_task
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.run_dir import RunDir
from tests.costs.operator_latencies import CALL_MS, table_of_macs
from tests.training.synthetic import colour_data, small_space

SPACE = small_space()
EPOCHS = 8
LARGEST = network_cost(SPACE.supernet)
SMALLEST = network_cost(SPACE.resolve(SPACE.smallest()))


def search(
    path,
    budget,
    *,
    space=SPACE,
    data=None,
    epochs=EPOCHS,
    table=None,
    checkpoint_minutes=10.0,
    **options,
):
    data = data or colour_data(num_train=128)
    return search_figs(
        space,
        classification_task(data, label_smoothing=0.1),
        data,
        RunDir(path),
        config=FigsConfig(**options),
        budget=width_budget(space, budget, table),
        optimizer=OptimizerConfig(learning_rate=0.5),
        training=TrainingConfig(
            epochs=epochs,
            dropout_rate=0.0,
            batch_norm_momentum=0.8,
            checkpoint_minutes=checkpoint_minutes,
        ),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("search")
    return path, search(path, BudgetConfig(max_macs=(0.4 * LARGEST.macs,)))


@pytest.mark.slow
def test_a_search_meets_its_budget_from_below(finished):
    path, result = finished
    budget = 0.4 * LARGEST.macs
    assert 0.97 * budget <= result.cost.macs <= budget
    assert result.cost == network_cost(result.architecture)
    assert read_architecture(path / "architecture.json") == result.architecture
    assert result.architecture.name == "small_found"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "share", "options"),
    [
        ("params", 0.5, {"penalty": "sample", "estimator": "straight_through"}),
        ("macs", 0.3, {"gate": "hard_concrete"}),
        ("macs", 0.3, {"gate": "batch_norm_scale"}),
    ],
)
def test_other_budgets_gates_and_penalties_meet_theirs(
    tmp_path, metric, share, options
):
    budget = share * getattr(LARGEST, metric)
    result = search(tmp_path, BudgetConfig(**{f"max_{metric}": (budget,)}), **options)
    assert 0.97 * budget <= getattr(result.cost, metric) <= budget


@pytest.mark.slow
def test_a_search_tells_its_course(finished):
    path, _ = finished
    rows = RunDir(path).read_metrics()
    assert [row["epoch"] for row in rows] == list(range(1, EPOCHS + 1))
    assert {row["phase"] for row in rows} == {"search"}
    assert {
        "loss",
        "accuracy",
        "expected_cost",
        "target_cost",
        "penalty_strength",
        "channels_alive",
        "validation_accuracy",
        "derived_cost",
        "gate_entropy",
    } <= set(rows[-1])
    budget = 0.4 * LARGEST.macs
    assert rows[-1]["target_cost"] == pytest.approx(0.985 * budget, rel=1e-4)
    targets = [row["target_cost"] for row in rows]
    assert all(a >= b for a, b in itertools.pairwise(targets))
    # An open gate has 0.39 bits (p = 0.924).
    assert 0.0 <= rows[-1]["gate_entropy"] <= 1.0


@pytest.mark.slow
def test_what_was_kept_of_what_is_written(finished):
    path, result = finished
    document = read_json(path / "search.json")
    assert document["space"] == "small"
    assert document["channel_divisor"] == 2
    assert (document["metric"], document["budget"]) == ("macs", 0.4 * LARGEST.macs)
    assert document["supernet_cost"] == dataclasses.asdict(LARGEST)
    assert document["derived_cost"] == dataclasses.asdict(result.cost)
    assert document["widths"] == result.selection.widths
    assert SPACE.resolve(document["widths"]).stages == result.architecture.stages
    for summary in document["probabilities"].values():
        assert 0 <= summary["mean"] <= 1
        assert 0 <= summary["undecided"] <= 1


@pytest.mark.slow
def test_the_found_network_carries_the_supernets_weights(finished):
    path, result = finished
    architecture, loaded = load_network(path, weights_file=INHERITED_WEIGHTS)
    assert architecture == result.architecture
    images, _ = next(iter(colour_data().test()))
    expected = np.array(result.network(images))
    np.testing.assert_array_equal(np.array(loaded(images)), expected)
    # The same as the supernet with the gates set to what was kept.
    for gate_path, gate in result.supernet.gates.items():
        kept = result.selection.kept[gate_path]
        gate.logits.assign(np.where(kept, 100.0, -100.0))
    masked = np.array(result.supernet.model(images))
    scale = np.abs(masked).max()
    np.testing.assert_allclose(expected, masked, rtol=0, atol=1e-5 * scale)


@pytest.mark.slow
def test_a_finished_search_that_is_started_again_gives_the_same(finished):
    path, result = finished
    again = search(path, BudgetConfig(max_macs=(0.4 * LARGEST.macs,)))
    assert again.architecture == result.architecture
    assert again.selection.widths == result.selection.widths
    assert len(RunDir(path).read_metrics()) == EPOCHS


@pytest.mark.parametrize("metric", ["macs", "params"])
@pytest.mark.parametrize("outside", ["below", "above"])
def test_a_budget_out_of_reach_is_refused_with_what_is_in_reach(metric, outside):
    smallest, largest = getattr(SMALLEST, metric), getattr(LARGEST, metric)
    budget = smallest - 1 if outside == "below" else largest + 1
    with pytest.raises(ValueError) as error:
        width_budget(SPACE, BudgetConfig(**{f"max_{metric}": (budget,)}))
    assert str(error.value) == (
        f"max_{metric} must be from {smallest:,} to {largest:,}, what the space small "
        f"can reach. Received: {budget:,}"
    )


@pytest.mark.parametrize("metric", ["macs", "params"])
def test_budgets_at_both_ends_are_accepted(metric):
    for cost in (SMALLEST, LARGEST):
        value = getattr(cost, metric)
        width_budget(SPACE, BudgetConfig(**{f"max_{metric}": (value,)}))


def test_a_refused_search_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="what the space small can reach"):
        search(tmp_path, BudgetConfig(max_macs=(1.0,)))
    assert list(tmp_path.iterdir()) == []


def space_with(kind):
    """Returns the small space with a width that no batch norm makes, and its path."""
    architecture = SPACE.supernet
    if kind == "head/hidden":
        head = dataclasses.replace(architecture.head, hidden_channels=8)
        return width_space("odd", dataclasses.replace(architecture, head=head)), kind
    (stage,) = architecture.stages
    first, second = stage.blocks
    second = dataclasses.replace(second, squeeze_excite=SqueezeExcite(4))
    stage = dataclasses.replace(stage, blocks=(first, second))
    odd = dataclasses.replace(architecture, stages=(stage,))
    return width_space("odd", odd), "stage1/block1/squeeze_excite"


@pytest.mark.parametrize("kind", ["head/hidden", "squeeze_excite"])
def test_widths_without_batch_norm_have_no_batch_norm_gate(tmp_path, kind):
    space, path = space_with(kind)
    budget = BudgetConfig(max_macs=(network_cost(space.supernet).macs,))
    with pytest.raises(ValueError) as error:
        search(tmp_path, budget, space=space, gate="batch_norm_scale")
    assert str(error.value) == (
        "gate must be logistic_sigmoid or hard_concrete in the space odd, as no batch "
        f"norm makes the channels of {path}. Received: gate='batch_norm_scale'"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["head/hidden", "squeeze_excite"])
def test_widths_without_batch_norm_may_be_there_or_have_other_gates(kind):
    space, path = space_with(kind)
    for gate in ("logistic_sigmoid", "hard_concrete"):
        check_gate(space, FigsConfig(gate=gate))
    choices = tuple(choice for choice in space.choices if choice.path != path)
    fixed = SearchSpace("fixed", space.supernet, choices)
    check_gate(fixed, FigsConfig(gate="batch_norm_scale"))
    check_gate(SPACE, FigsConfig(gate="batch_norm_scale"))


@pytest.mark.parametrize(
    ("gate", "shares", "epochs", "words"),
    [
        ("batch_norm_scale", (0.5,), 3, "no batch norm makes the channels of"),
        ("hard_concrete", (1.5,), 3, "what the space odd can reach"),
        ("hard_concrete", (0.6, 0.5, 0.4), 4, "each of the 3 budgets a whole epoch"),
    ],
)
def test_what_cannot_be_searched_is_told_without_a_search(gate, shares, epochs, words):
    space, _ = space_with("squeeze_excite")
    budgets = tuple(share * network_cost(space.supernet).macs for share in shares)
    with pytest.raises(ValueError, match=words):
        check_search(
            space,
            config=FigsConfig(gate=gate, warmup_fraction=0.1),
            budget=width_budget(space, BudgetConfig(max_macs=budgets)),
            training=TrainingConfig(epochs=epochs),
        )


@pytest.mark.parametrize(("shares", "epochs"), [((0.5,), 1), ((0.6, 0.5, 0.4), 5)])
def test_the_shortest_search_has_a_whole_epoch_for_each_of_several_budgets(
    shares, epochs
):
    # Stages of 5 epochs end at 0.5 + 1.5 = 2, 3.5 and 5.
    budgets = tuple(share * LARGEST.macs for share in shares)
    check_search(
        SPACE,
        config=FigsConfig(warmup_fraction=0.1),
        budget=width_budget(SPACE, BudgetConfig(max_macs=budgets)),
        training=TrainingConfig(epochs=epochs),
    )


@pytest.mark.slow
def test_a_killed_search_goes_on_across_a_cut(tmp_path):
    budget = BudgetConfig(max_macs=(0.3 * LARGEST.macs,))
    options = {"gate_learning_rate": 1.0, "retrace_steps": 0.0, "dead_below": 0.2}
    whole = search(tmp_path / "whole", budget, **options)
    events = read_json(tmp_path / "whole" / "shrinking.json")
    assert events
    assert whole.supernet.space.log10_size() < SPACE.log10_size()

    class Killed(Exception):
        pass

    class Dying:
        """Training data that the process does not survive, in the epoch of a cut."""

        def __init__(self, data, epoch):
            self.data, self.epoch = data, epoch

        def __getattr__(self, name):
            return getattr(self.data, name)

        def train_epoch(self, epoch):
            if epoch == self.epoch:
                raise Killed
            return self.data.train_epoch(epoch)

    data = colour_data(num_train=128)
    for event in (events[0], events[-1]):
        dying = Dying(data, event["epoch"])
        with pytest.raises(Killed):
            # Saved after every step: the cut is behind it, and in a checkpoint.
            search(
                tmp_path / "killed",
                budget,
                data=dying,
                checkpoint_minutes=0.0,
                **options,
            )
    again = search(tmp_path / "killed", budget, data=data, **options)
    assert again.architecture == whole.architecture
    for ours, theirs in zip(
        again.network.get_weights(), whole.network.get_weights(), strict=True
    ):
        # Sums over threads come in any order, and eight epochs amplify that.
        np.testing.assert_allclose(ours, theirs, rtol=1e-2, atol=1e-3)
    assert read_json(tmp_path / "killed" / "shrinking.json") == events


@pytest.mark.slow
def test_one_search_serves_several_budgets(tmp_path):
    budgets = (0.6 * LARGEST.macs, 0.3 * LARGEST.macs)
    result = search(tmp_path, BudgetConfig(max_macs=budgets), epochs=10)
    assert 0.95 * budgets[1] <= result.cost.macs <= budgets[1]
    (snapshot,) = (tmp_path / "snapshots").iterdir()
    assert snapshot.name == f"{budgets[0]:.0f}_macs"
    architecture, _ = load_network(snapshot, weights_file=INHERITED_WEIGHTS)
    assert 0.97 * budgets[0] <= network_cost(architecture).macs <= budgets[0]
    document = read_json(snapshot / "search.json")
    assert document["budget"] == budgets[0]
    assert document["supernet_cost"] == dataclasses.asdict(LARGEST)
    assert SPACE.resolve(document["widths"]).stages == architecture.stages


def test_too_few_epochs_for_the_budgets_are_refused(tmp_path):
    budgets = (0.6 * LARGEST.macs, 0.5 * LARGEST.macs, 0.3 * LARGEST.macs)
    with pytest.raises(ValueError, match="each of the 3 budgets a whole epoch"):
        search(tmp_path, BudgetConfig(max_macs=budgets), epochs=3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_search_meets_a_budget_in_milliseconds(tmp_path):
    table = table_of_macs(width_parts(SPACE))
    ms = CALL_MS + 1e-6 * 0.4 * LARGEST.macs
    found = search(tmp_path, BudgetConfig(max_ms=(ms,)), table=table)
    latency = CALL_MS + 1e-6 * found.cost.macs
    assert latency <= ms
    assert found.cost.macs >= 0.9 * 0.4 * LARGEST.macs
    document = read_json(tmp_path / "search.json")
    assert (document["metric"], document["budget"]) == ("ms", ms)
    assert document["derived_cost"]["ms"] == pytest.approx(latency, rel=1e-4)


def test_a_budget_in_milliseconds_out_of_reach_names_both_ends():
    table = table_of_macs(width_parts(SPACE))
    words = "max_ms must be from 0.50.* to 0.5.*, what the space small can reach"
    with pytest.raises(ValueError, match=words):
        width_budget(SPACE, BudgetConfig(max_ms=(0.1,)), table)


@pytest.mark.slow
def test_a_search_by_choices_of_counts_meets_its_budget(tmp_path):
    budget = 0.4 * LARGEST.macs
    found = search(tmp_path, BudgetConfig(max_macs=(budget,)), gate="width_choice")
    assert 0.9 * budget <= found.cost.macs <= budget
    assert not (tmp_path / "shrinking.json").exists()
