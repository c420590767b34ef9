import numpy as np
import pytest

from mobilenas_tf.costs.network import cost_function, network_cost
from mobilenas_tf.models.derive import (
    derived_architecture,
    harden,
    select_channels,
)
from mobilenas_tf.models.supernet import build_supernet_model
from mobilenas_tf.space import required_kernels, with_presence
from mobilenas_tf.spaces import TABLES, named_space
from mobilenas_tf.widths import width_groups
from tests.models.random_networks import (
    constant_probabilities,
    hard_concrete_gate,
    logistic_sigmoid_gate,
    random_probabilities,
    small_space,
    width_choice_gate,
)

METRICS = ["macs", "params"]


def cost_of(space, selection, metric):
    """Returns the cost of the network that is derived, not that of the gates."""
    architecture = derived_architecture(space, selection, name="derived")
    return getattr(network_cost(architecture), metric)


def select(space, probabilities, budget, metric="macs"):
    cost = cost_function(space.supernet, metric)
    return select_channels(space, probabilities, cost=cost, budget=budget)


def range_of_costs(space, metric):
    return [
        getattr(network_cost(space.resolve(genotype)), metric)
        for genotype in (space.smallest(), space.largest())
    ]


def budgets(space, metric, count=12):
    smallest, largest = range_of_costs(space, metric)
    return np.geomspace(smallest, largest, count)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("channel_divisor", [1, 2, 4])
def test_a_selection_is_within_its_budget_and_nothing_more_fits(
    metric, channel_divisor
):
    space = small_space(channel_divisor)
    cost = cost_function(space.supernet, metric)
    probabilities = random_probabilities(space, np.random.default_rng(0))
    for budget in budgets(space, metric):
        selection = select(space, probabilities, budget, metric)
        assert cost_of(space, selection, metric) <= budget
        assert cost(with_presence(space, selection.widths)) == cost_of(
            space, selection, metric
        )
        for choice in space.choices:
            width = selection.widths[choice.path]
            wider = [value for value in choice.values if value > width]
            if wider:
                widths = {**selection.widths, choice.path: wider[0]}
                assert cost(with_presence(space, widths)) > budget


@pytest.mark.parametrize("name", TABLES)
def test_named_spaces_meet_budgets_from_below(name):
    space = named_space(name)
    rng = np.random.default_rng(0)
    largest = range_of_costs(space, "macs")[1]
    for share in (0.25, 0.4, 0.7):
        selection = select(space, random_probabilities(space, rng), share * largest)
        found = cost_of(space, selection, "macs")
        assert 0.95 * share * largest <= found <= share * largest


@pytest.mark.parametrize("metric", METRICS)
def test_a_larger_budget_never_buys_a_cheaper_network(metric):
    space = small_space()
    probabilities = random_probabilities(space, np.random.default_rng(1))
    costs = [
        cost_of(space, select(space, probabilities, budget, metric), metric)
        for budget in budgets(space, metric, count=40)
    ]
    assert costs == sorted(costs)
    assert [costs[0], costs[-1]] == range_of_costs(space, metric)


@pytest.mark.parametrize("budget_share", [None, 0.5])
def test_the_same_probabilities_give_the_same_selection(budget_share):
    space = small_space()
    largest = range_of_costs(space, "macs")[1]
    for probabilities in (
        random_probabilities(space, np.random.default_rng(2)),
        constant_probabilities(space, 0.924),
    ):
        first, second = (
            select_channels(space, probabilities)
            if budget_share is None
            else select(space, dict(reversed(probabilities.items())), 0.5 * largest)
            for _ in range(2)
        )
        assert first.widths == second.widths
        assert first.width_scale == second.width_scale
        for path, kept in first.kept.items():
            np.testing.assert_array_equal(kept, second.kept[path])


@pytest.mark.parametrize("channel_divisor", [1, 2, 4, 8])
def test_channel_counts_are_multiples_of_the_divisor_or_all(channel_divisor):
    space = small_space(channel_divisor)
    channels = {group.path: group.channels for group in width_groups(space.supernet)}
    rng = np.random.default_rng(3)
    for budget in (None, *budgets(space, "macs", count=4)):
        probabilities = random_probabilities(space, rng)
        selection = (
            select_channels(space, probabilities)
            if budget is None
            else select(space, probabilities, budget)
        )
        for path, width in selection.widths.items():
            assert width % channel_divisor == 0 or width == channels[path]


def test_a_budget_below_the_smallest_network_is_refused():
    space = small_space()
    smallest, _ = range_of_costs(space, "macs")
    probabilities = constant_probabilities(space, 0.5)
    assert cost_of(space, select(space, probabilities, smallest), "macs") == smallest
    with pytest.raises(ValueError) as error:
        select(space, probabilities, smallest - 1)
    assert str(error.value) == (
        "budget must allow the smallest network of small. "
        f"Received: budget={smallest - 1:,.0f}"
    )


def test_the_smallest_budget_takes_the_cheapest_kernel_whatever_the_gates_say():
    space = small_space()
    smallest, _ = range_of_costs(space, "macs")
    probabilities = constant_probabilities(space, 0.3)
    probabilities["stage2/block0/kernel5"][:] = 0.9
    selection = select(space, probabilities, smallest)
    assert selection.widths["stage2/block0/kernel3"] == 2
    assert selection.widths["stage2/block0/kernel5"] == 0


def test_without_a_budget_widths_are_the_rounded_expected_ones():
    space = small_space(channel_divisor=1)
    probabilities = random_probabilities(space, np.random.default_rng(4))
    selection = select_channels(space, probabilities)
    required = {k.path for ks in required_kernels(space.supernet) for k in ks}
    for group in width_groups(space.supernet):
        expected = probabilities[group.path].sum()
        is_forced = group.path in required or not group.is_kernel
        least = 1 if is_forced and expected < 0.5 else 0
        rounded = max(least, int(np.floor(expected + 0.5)))
        if group.path in required:
            assert selection.widths[group.path] in (rounded, int(expected))
        else:
            assert selection.widths[group.path] == rounded


def test_decided_gates_keep_what_is_open():
    space = small_space(channel_divisor=1)
    rng = np.random.default_rng(5)
    probabilities = {
        path: (p > 0.5).astype(float)
        for path, p in random_probabilities(space, rng).items()
    }
    selection = select_channels(space, probabilities)
    for path, p in probabilities.items():
        if p.any():
            np.testing.assert_array_equal(selection.kept[path], p > 0.5)


def test_a_budget_scales_all_expected_widths_alike():
    space = small_space(channel_divisor=1)
    probabilities = constant_probabilities(space, 0.4)
    for path in ("stage2/block0/kernel3", "stage2/block1/kernel5"):
        probabilities[path][:] = 0.2
    _, largest = range_of_costs(space, "macs")
    selection = select(space, probabilities, 0.45 * largest)
    # 8 channels each: expected 3.2, or 1.6 where gates are half as open.
    widths = selection.widths
    factor = selection.width_scale
    assert factor > 1
    for path in ("stage1/block2/kernel3", "stage2/block3/kernel5"):
        assert abs(widths[path] - factor * 3.2) <= 1
        assert abs(widths["stage2/block0/kernel3"] - factor * 1.6) <= 1


def test_the_scale_is_that_of_the_last_step_taken():
    space = small_space(channel_divisor=4)
    probabilities = constant_probabilities(space, 1.0)
    probabilities["stage2/block0/kernel3"][:] = 0.625
    # Expected 5 of 8: beyond the middle of 0 and 4, not of 4 and 8.
    selection = select_channels(space, probabilities)
    assert selection.widths["stage2/block0/kernel3"] == 4
    _, largest = range_of_costs(space, "macs")
    selection = select(space, probabilities, largest)
    assert selection.widths["stage2/block0/kernel3"] == 8
    assert selection.width_scale == pytest.approx(6 / 5)


def test_kept_channels_are_the_likeliest_of_their_group():
    space = small_space()
    largest = range_of_costs(space, "macs")[1]
    probabilities = random_probabilities(space, np.random.default_rng(5))
    selection = select(space, probabilities, 0.5 * largest)
    for group in width_groups(space.supernet):
        best = probabilities[group.path]
        kept = selection.kept[group.path]
        if kept.any() and not kept.all():
            assert best[kept].min() >= best[~kept].max()


def test_a_block_without_kernels_is_absent():
    space = small_space()
    probabilities = constant_probabilities(space, 0.9)
    for kernel_size in (3, 5):
        probabilities[f"stage1/block2/kernel{kernel_size}"][:] = 0.1
    selection = select_channels(space, probabilities)
    assert selection.kept["stem/output"].all()
    widths = with_presence(space, selection.widths)
    presence = {path: width for path, width in widths.items() if "presence" in path}
    assert presence == {
        "stage1/block2/presence": 0,
        "stage2/block1/presence": 1,
        "stage2/block3/presence": 1,
    }


def test_a_derived_architecture_carries_the_name_and_the_widths():
    space = small_space()
    probabilities = random_probabilities(space, np.random.default_rng(6))
    selection = select_channels(space, probabilities)
    architecture = derived_architecture(space, selection, name="found")
    assert architecture.name == "found"
    assert architecture.stem.out_channels == selection.widths["stem/output"]
    assert architecture.head.hidden_channels == selection.widths["head/hidden"]


@pytest.mark.parametrize(
    "make_gate", [logistic_sigmoid_gate, hard_concrete_gate, width_choice_gate]
)
def test_hardened_gates_are_the_selection_also_while_training(make_gate):
    space = small_space()
    supernet = build_supernet_model(space, make_gate)
    probabilities = random_probabilities(space, np.random.default_rng(7))
    if make_gate is width_choice_gate:  # opens the first channels
        probabilities = {path: -np.sort(-p) for path, p in probabilities.items()}
    selection = select_channels(space, probabilities)
    harden(supernet, selection)
    image = np.zeros((1, 8, 8, 3), "float32")
    for training in (False, True):
        _, masks = supernet.masked_model(image, training=training)
        for path, mask in masks.items():
            np.testing.assert_array_equal(np.array(mask), selection.kept[path])
