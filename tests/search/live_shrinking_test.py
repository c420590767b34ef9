import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.network import cost_function, network_cost
from mobilenas_tf.json_io import read_json
from mobilenas_tf.layers.gates import (
    BatchNormScaleGate,
    HardConcreteGate,
    LogisticSigmoidGate,
)
from mobilenas_tf.models.derive import select_live_channels
from mobilenas_tf.models.supernet import build_supernet_model
from mobilenas_tf.search.live_shrinking import LiveShrinking, supernet_cuts
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.cuts import Cut, write_cuts
from mobilenas_tf.training.optimizers import carry_state
from mobilenas_tf.training.search_trainer import SearchTrainer
from tests.models.random_networks import (
    batch_norm_scale_gate,
    constant_probabilities,
    hard_concrete_gate,
    logistic_sigmoid_gate,
    random_images,
    random_probabilities,
    randomize,
    set_probabilities,
    set_scales,
    small_normed_space,
    small_space,
    take_statistics,
)

DEAD_BELOW = 0.05


def dead_and_alive(space, seed):
    """Returns probabilities of which about half say that a channel is surely dead."""
    rng = np.random.default_rng(seed)
    return {
        path: np.where(p < 0.5, 0.001, 0.999)
        for path, p in random_probabilities(space, rng).items()
    }


def shrunk(supernet, probabilities, dead_below=DEAD_BELOW):
    selection = select_live_channels(
        supernet.space, probabilities, dead_below=dead_below
    )
    narrow = build_supernet_model(
        supernet.space.narrowed(selection.widths), type_of_gate(supernet), seed=99
    )
    return narrow, selection, supernet_cuts(supernet, narrow, selection)


def type_of_gate(supernet):
    return {
        LogisticSigmoidGate: logistic_sigmoid_gate,
        HardConcreteGate: hard_concrete_gate,
        BatchNormScaleGate: batch_norm_scale_gate,
    }[type(next(iter(supernet.gates.values())))]


@pytest.mark.parametrize("make_gate", [logistic_sigmoid_gate, hard_concrete_gate])
@pytest.mark.parametrize("seed", range(3))
def test_outputs_agree_before_and_after(make_gate, seed):
    supernet = build_supernet_model(small_space(), make_gate)
    probabilities = dead_and_alive(supernet.space, seed)
    set_probabilities(supernet, probabilities)
    rng = np.random.default_rng(1)
    images = random_images(supernet.space.supernet, rng, count=8)
    randomize(supernet.model, images, rng)
    narrow, selection, cuts = shrunk(supernet, probabilities)
    for cut in cuts:
        cut.target.assign(cut.part_of(np.asarray(cut.source)))
    assert (
        network_cost(narrow.space.supernet).macs
        < 0.9 * network_cost(supernet.space.supernet).macs
    )
    wide, cut = np.array(supernet.model(images)), np.array(narrow.model(images))
    assert np.abs(wide - cut).max() <= 1e-5 * np.abs(wide).max()
    for path, gate in narrow.gates.items():
        kept = selection.kept[path]
        logits = np.array(supernet.gates[path].logits)
        np.testing.assert_array_equal(np.array(gate.logits), logits[kept])


@pytest.mark.parametrize("seed", range(1, 4))
def test_outputs_agree_where_scales_of_batch_norm_are_the_gates(seed):
    supernet = build_supernet_model(small_normed_space(), batch_norm_scale_gate)
    kept = {path: p > 0.5 for path, p in dead_and_alive(supernet.space, seed).items()}
    for channels in kept.values():
        channels[[1, 4]] = True  # something of the images reaches the head
    rng = np.random.default_rng(1)
    images = random_images(supernet.space.supernet, rng, count=8)
    randomize(supernet.model, images, rng)
    # Closed channels have scales up to the threshold, probabilities up to 0.5.
    set_scales(supernet, kept, rng)
    take_statistics(supernet.model, images, rng)
    probabilities = {
        path: np.array(p) for path, p in supernet.keep_probabilities().items()
    }
    narrow, selection, cuts = shrunk(supernet, probabilities, dead_below=0.4)
    for cut in cuts:
        cut.target.assign(cut.part_of(np.asarray(cut.source)))
    assert (
        network_cost(narrow.space.supernet).macs
        < network_cost(supernet.space.supernet).macs
    )
    wide, wide_masks = supernet.masked_model(images)
    cut, masks = narrow.masked_model(images)
    assert np.ptp(wide, axis=0).max() > 0.01 * np.abs(wide).max()
    assert np.abs(wide - cut).max() <= 1e-5 * np.abs(wide).max()
    for path, mask in masks.items():
        stays = selection.kept[path]
        np.testing.assert_array_equal(np.array(mask), np.array(wide_masks[path])[stays])


@pytest.mark.parametrize(
    ("space", "make_gate"),
    [
        (small_space(), logistic_sigmoid_gate),
        (small_normed_space(), batch_norm_scale_gate),
    ],
)
def test_every_variable_gets_its_part(space, make_gate):
    supernet = build_supernet_model(space, make_gate)
    narrow, _, cuts = shrunk(supernet, dead_and_alive(supernet.space, 0))
    targets = [id(cut.target) for cut in cuts]
    assert len(set(targets)) == len(targets)
    assert set(targets) == {id(variable) for variable in narrow.model.variables}
    for cut in cuts:
        assert cut.part_of(np.asarray(cut.source)).shape == tuple(cut.target.shape)


@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda: keras.optimizers.SGD(0.1, momentum=0.9, use_ema=True),
        lambda: keras.optimizers.RMSprop(0.1, momentum=0.9),
        lambda: keras.optimizers.Adam(0.1),
    ],
)
def test_the_next_update_is_that_of_the_wide_network(make_optimizer):
    supernet = build_supernet_model(small_space(), logistic_sigmoid_gate)
    narrow, _, cuts = shrunk(supernet, dead_and_alive(supernet.space, 0))
    rng = np.random.default_rng(0)
    wide_variables, narrow_variables = (
        network.model.trainable_variables for network in (supernet, narrow)
    )
    before, after = make_optimizer(), make_optimizer()
    before.build(wide_variables)
    after.build(narrow_variables)

    def random_gradients():
        return [
            tf.constant(rng.normal(size=v.shape), tf.float32) for v in wide_variables
        ]

    for _ in range(2):
        before.apply(random_gradients(), wide_variables)
    for cut in cuts:
        cut.target.assign(cut.part_of(np.asarray(cut.source)))
    carry_state(before, after, cuts)
    assert int(after.iterations) == 2
    gradients = random_gradients()
    before.apply(gradients, wide_variables)
    by_source = {id(v): g for v, g in zip(wide_variables, gradients, strict=True)}
    by_target = {id(cut.target): cut for cut in cuts}
    after.apply(
        [
            tf.constant(
                by_target[id(v)].part_of(by_source[id(by_target[id(v)].source)].numpy())
            )
            for v in narrow_variables
        ],
        narrow_variables,
    )
    for variable in narrow_variables:
        cut = by_target[id(variable)]
        expected = cut.part_of(np.asarray(cut.source))
        np.testing.assert_allclose(np.asarray(variable), expected, rtol=1e-6)


def live_shrinking(tmp_path, *, steps_done=0, retrace_steps=10.0, budget=None):
    space = small_space()
    budget = budget or 0.2 * network_cost(space.supernet).macs

    def build(part):
        return build_supernet_model(part, logistic_sigmoid_gate)

    def make_optimizers(supernet):
        return keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(0.1)

    supernet = build(space)
    trainer = SearchTrainer(
        supernet,
        classification_objective(),
        expected_cost=cost_function(space.supernet, "macs"),
        schedule=BudgetSchedule(start_cost=2e4, budgets=(budget,)),
        temperature=None,
        total_steps=100,
    )
    trainer.compile(*make_optimizers(supernet))
    trainer.optimizer.iterations.assign(steps_done)
    return LiveShrinking(
        trainer,
        space,
        build=build,
        make_optimizers=make_optimizers,
        cost=cost_function(space.supernet, "macs"),
        events_path=tmp_path / "shrinking.json",
        dead_below=DEAD_BELOW,
        retrace_steps=retrace_steps,
    )


def macs_of(shrinking):
    return network_cost(shrinking.trainer.supernet.space.supernet).macs


def test_nothing_is_cut_while_all_channels_live(tmp_path):
    shrinking = live_shrinking(tmp_path)
    set_probabilities(
        shrinking.trainer.supernet,
        constant_probabilities(shrinking.space, 2 * DEAD_BELOW),
    )
    assert not shrinking.after_epoch(1)
    assert not (tmp_path / "shrinking.json").exists()


@pytest.mark.parametrize(("steps_done", "is_cut"), [(0, True), (95, False)])
def test_a_cut_must_save_more_steps_than_it_costs(tmp_path, steps_done, is_cut):
    shrinking = live_shrinking(tmp_path, steps_done=steps_done)
    set_probabilities(
        shrinking.trainer.supernet, dead_and_alive(shrinking.space, seed=0)
    )
    assert shrinking.after_epoch(1) == is_cut
    assert int(shrinking.trainer.optimizer.iterations) == steps_done


@pytest.mark.parametrize(("share", "is_cut"), [(0.2, True), (0.95, False)])
def test_what_is_left_can_still_fill_the_budget(tmp_path, share, is_cut):
    budget = share * network_cost(small_space().supernet).macs
    shrinking = live_shrinking(tmp_path, budget=budget)
    set_probabilities(
        shrinking.trainer.supernet, dead_and_alive(shrinking.space, seed=0)
    )
    assert shrinking.after_epoch(1) == is_cut
    assert macs_of(shrinking) >= budget


@pytest.mark.parametrize(("share", "is_cut"), [(0.99, False), (1.0, True)])
def test_what_is_left_still_has_a_network_for_the_last_budget(tmp_path, share, is_cut):
    # All 3x3 kernels are dead, the cheapest ones.
    space = small_space()
    probabilities = {
        path: np.where(path.endswith("kernel3"), 0.0, np.linspace(0.0, 1.0, len(p)))
        for path, p in constant_probabilities(space, 1.0).items()
    }
    selection = select_live_channels(space, probabilities, dead_below=DEAD_BELOW)
    narrow = space.narrowed(selection.widths)
    smallest = network_cost(narrow.resolve(narrow.smallest())).macs
    assert smallest > network_cost(space.resolve(space.smallest())).macs
    shrinking = live_shrinking(tmp_path, budget=share * smallest)
    set_probabilities(shrinking.trainer.supernet, probabilities)
    assert shrinking.after_epoch(1) == is_cut


def test_what_was_cut_is_restored_epoch_by_epoch(tmp_path):
    shrinking = live_shrinking(tmp_path)
    whole = macs_of(shrinking)
    supernet = shrinking.trainer.supernet
    set_probabilities(supernet, dead_and_alive(shrinking.space, seed=0))
    assert shrinking.after_epoch(2)
    first = macs_of(shrinking)
    supernet = shrinking.trainer.supernet
    for gate in supernet.gates.values():
        gate.logits.assign(np.linspace(-9.0, 9.0, gate.channels))
    assert shrinking.after_epoch(5)
    second = macs_of(shrinking)
    assert second < first < whole
    events = read_json(tmp_path / "shrinking.json")
    assert [(event["epoch"], event["macs"]) for event in events] == [
        (2, first),
        (5, second),
    ]
    again = live_shrinking(tmp_path)
    for epoch, macs in ((6, second), (5, second), (4, first), (2, first), (1, whole)):
        again.restore(epoch)
        assert macs_of(again) == macs
    # What came after the epoch that was restored will come again.
    assert read_json(tmp_path / "shrinking.json") == []


def test_cuts_of_another_space_are_an_error_that_names_their_file(tmp_path):
    shrinking = live_shrinking(tmp_path)
    whole, path = macs_of(shrinking), tmp_path / "shrinking.json"
    write_cuts(path, [Cut(1, 1000, {"stage9/block0/output": 8})])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="shrinking.json must fit the space: "):
        shrinking.restore(1)
    assert macs_of(shrinking) == whole
    assert path.read_bytes() == before


def test_every_block_keeps_a_step_of_channels():
    space = small_space()
    probabilities = constant_probabilities(space, 0.001)
    probabilities["stage2/block1/kernel5"][3] = 0.002
    selection = select_live_channels(space, probabilities, dead_below=DEAD_BELOW)
    narrow = space.narrowed(selection.widths)
    assert [len(stage.blocks) for stage in narrow.supernet.stages] == [
        len(stage.blocks) for stage in space.supernet.stages
    ]
    assert selection.widths["stage2/block1/kernel5"] == space.channel_divisor
    assert selection.kept["stage2/block1/kernel5"][3]
    assert selection.widths["stage2/block1/kernel3"] == 0
