import numpy as np
import pytest

from mobilenas_tf.costs.bit_widths import bit_macs, weight_bytes
from mobilenas_tf.costs.block_costs import most_probable
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.json_io import read_architecture, read_json
from mobilenas_tf.models.network_io import INHERITED_WEIGHTS, load_network
from mobilenas_tf.search.config import DnasConfig, OperatorBudgetConfig
from mobilenas_tf.search.dnas import SearchData, operator_budget, search_dnas
from mobilenas_tf.training.classification import classification_task
from mobilenas_tf.training.config import OptimizerConfig, TrainingConfig
from mobilenas_tf.training.run_dir import RunDir
from tests.small_block_space import small_bit_space, small_block_space
from tests.training.synthetic import SIZE_PX, colour_data

SPACE = small_block_space(image_size_px=SIZE_PX)
BUDGET = OperatorBudgetConfig(max_macs=20_000)
DATA = SearchData(colour_data(96, 16), colour_data(24, 4))


def search(path, *, epochs=4, data=DATA, space=SPACE, budget=BUDGET, **options):
    return search_dnas(
        space,
        classification_task(data.weights, label_smoothing=0.1),
        data,
        RunDir(path),
        config=DnasConfig(space="small", **options),
        budget=operator_budget(space, budget, None),
        optimizer=OptimizerConfig(learning_rate=0.5),
        training=TrainingConfig(
            epochs=epochs, dropout_rate=0.0, batch_norm_momentum=0.8
        ),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("dnas")
    return path, search(path, num_samples=3)


@pytest.mark.slow
def test_the_found_network_is_within_the_budget(finished):
    path, found = finished
    macs = network_cost(found.architecture).macs
    assert found.cost == macs <= BUDGET.value
    assert read_architecture(path / "architecture.json") == found.architecture
    document = read_json(path / "operators.json")
    assert document["found"]["genotype"] == found.genotype
    assert document["found"]["macs"] == macs
    for place in SPACE.places:
        assert sum(document["probabilities"][place.path]) == pytest.approx(1)
        names = [candidate.name for candidate in place.candidates]
        assert document["candidates"][place.path] == names


@pytest.mark.slow
def test_its_weights_are_the_supernets(finished):
    path, found = finished
    _, network = load_network(path, weights_file=INHERITED_WEIGHTS)
    images = np.random.default_rng(0).uniform(-1, 1, (4, SIZE_PX, SIZE_PX, 3))
    np.testing.assert_allclose(network(images), found.network(images), rtol=1e-6)


@pytest.mark.slow
def test_samples_are_distinct_within_the_budget_and_ranked(finished):
    path, _ = finished
    samples = read_json(path / "operators.json")["samples"]
    scores = [sample["inherited_validation_accuracy"] for sample in samples]
    assert scores == sorted(scores, reverse=True)
    assert len({str(sample["genotype"]) for sample in samples}) == len(samples) > 0
    for rank, sample in enumerate(samples):
        assert sample["cost"] <= BUDGET.value
        network = read_architecture(path / "samples" / str(rank) / "architecture.json")
        assert network_cost(network).macs == sample["macs"]


@pytest.mark.slow
def test_probabilities_are_followed_over_time(finished):
    path, _ = finished
    rows = RunDir(path).read_metrics()
    assert len(rows) == 4
    for row in rows:
        for place in SPACE.places:
            names = [f"p/{place.path}/{c.name}" for c in place.candidates]
            assert sum(row[name] for name in names) == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_a_stopped_search_ends_like_one_that_was_not(tmp_path):
    class Killed(Exception):
        pass

    class Dying(SearchData):
        def train_epoch(self, epoch):
            if epoch == 2:
                raise Killed
            return super().train_epoch(epoch)

    options = {"sampling": "path", "temperature_start": 1.0}
    whole = search(tmp_path / "whole", **options)
    with pytest.raises(Killed):
        search(tmp_path / "killed", data=Dying(DATA.weights, DATA.choices), **options)
    again = search(tmp_path / "killed", **options)
    assert again.genotype == whole.genotype
    probabilities = [
        read_json(tmp_path / name / "operators.json")["probabilities"]
        for name in ("whole", "killed")
    ]
    for path, values in probabilities[0].items():
        np.testing.assert_allclose(values, probabilities[1][path], atol=1e-3)


def test_budgets_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="latency_table must be given with max_ms; "):
        operator_budget(SPACE, OperatorBudgetConfig(max_ms=1.0), None)
    with pytest.raises(
        ValueError, match=r"max_macs must be from .* \(the cheapest netw"
    ):
        operator_budget(SPACE, OperatorBudgetConfig(max_macs=10.0), None)
    for given in ({}, {"max_ms": 1.0, "max_macs": 1.0}, {"max_ms": -1.0}):
        with pytest.raises(
            ValueError, match="exactly one of max_ms, max_macs, max_params, ma"
        ):
            OperatorBudgetConfig(**given)


@pytest.mark.parametrize("metric", ["bit_macs", "weight_bytes"])
def test_bit_widths_have_budgets_of_their_own(metric):
    space = small_bit_space()
    cost = {"bit_macs": bit_macs, "weight_bytes": weight_bytes}[metric]
    middle = cost(space.resolve({place.path: 2 for place in space.places}))
    config = OperatorBudgetConfig(**{f"max_{metric}": middle})
    assert (config.metric, config.value) == (metric, middle)
    budget = operator_budget(space, config, None)
    # All would be 8 bits, if they could.
    wanted = {place.path: np.array([0.1, 0.1, 0.1, 0.1, 0.6]) for place in space.places}
    found = most_probable(wanted, budget.costs, budget.value)
    assert cost(space.resolve(found)) == pytest.approx(budget.costs.of(found))
    assert budget.costs.of(found) <= middle
    low, high = budget.costs.range
    assert low == pytest.approx(cost(space.resolve(dict.fromkeys(found, 0))))
    assert high == pytest.approx(cost(space.resolve(dict.fromkeys(found, 4))))


def test_milliseconds_of_fewer_than_8_bits_are_refused():
    with pytest.raises(ValueError) as error:
        operator_budget(small_bit_space(), OperatorBudgetConfig(max_ms=1.0), None)
    assert str(error.value) == (
        "max_ms must not be given for the space small_bits: a latency table measures "
        "int8, not w2a4 of stage1/block0; give max_bit_macs or max_weight_bytes"
    )


@pytest.mark.slow
def test_bit_widths_are_searched_and_stored(tmp_path):
    space = small_bit_space(image_size_px=SIZE_PX)
    uniform = bit_macs(space.resolve({place.path: 2 for place in space.places}))
    found = search(
        tmp_path,
        space=space,
        budget=OperatorBudgetConfig(max_bit_macs=uniform),
        epochs=1,
        sampling="path",
    )
    assert found.cost == pytest.approx(bit_macs(found.architecture))
    assert found.cost <= uniform
    document = read_json(tmp_path / "operators.json")
    assert document["metric"] == "bit_macs"
    assert document["found"]["bit_macs"] == bit_macs(found.architecture)
    assert document["found"]["weight_bytes"] == weight_bytes(found.architecture)
    architecture, network = load_network(tmp_path, weights_file=INHERITED_WEIGHTS)
    assert architecture == found.architecture
    images = np.random.default_rng(0).uniform(-1, 1, (4, SIZE_PX, SIZE_PX, 3))
    np.testing.assert_allclose(network(images), found.network(images), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"architecture_share": 1.0}, "architecture_share must be in"),
        ({"temperature_end": 0.0}, "temperature_end must be above 0"),
        ({"warmup_fraction": 0.7}, "warmup_fraction must be from 0 to below"),
        ({"cost_loss": "none"}, "cost_loss must be one of"),
        ({"num_samples": -1}, "num_samples must be 0 or more"),
    ],
)
def test_options_that_are_off_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DnasConfig(**options)
