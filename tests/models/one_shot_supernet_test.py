import itertools

import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.models.network_io import network_weights
from mobilenas_tf.models.one_shot_supernet import (
    OneShotSupernet,
    statistics_of_first,
)
from mobilenas_tf.models.one_shot_weights import inherit_weights, used_kernels
from mobilenas_tf.one_shot_space import OneShotSpace, OneShotStage, Operation
from tests.small_one_shot_space import small_one_shot_space

SPACE = small_one_shot_space()
RNG = np.random.default_rng(0)
IMAGES = RNG.uniform(-1, 1, (6, 8, 8, 3)).astype("float32")


def randomize(supernet):
    for variable in supernet.trainable_variables:
        noise = RNG.normal(0, 0.3, variable.shape)
        variable.assign(variable + noise)
    return supernet


@pytest.fixture(scope="module", params=[True, False])
def supernet(request):
    return randomize(OneShotSupernet(SPACE, has_shared_kernels=request.param))


def genotypes(count=6):
    rng = np.random.default_rng(1)
    sampled = [SPACE.sample(rng) for _ in range(count)]
    return [SPACE.widest(), SPACE.narrowest(), *sampled]


@pytest.mark.parametrize("index", range(8))
def test_a_plan_computes_what_its_network_computes(supernet, index):
    genotype = genotypes()[index]
    network = inherit_weights(supernet, genotype, IMAGES[:4])
    plan = tf.constant(supernet.plan_of(genotype))
    found = supernet(IMAGES, plan, normalize=statistics_of_first(4))
    np.testing.assert_allclose(network(IMAGES), found, rtol=1e-4, atol=1e-4)


def test_all_networks_share_one_trace_and_touch_only_their_slices(supernet):
    traces = []
    variables = supernet.trainable_variables

    @tf.function
    def gradients(plan):
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(supernet(IMAGES, plan) ** 2)
        return tape.gradient(loss, variables)

    for genotype in genotypes():
        plan = supernet.plan_of(genotype)
        used = gradients(plan)
        stem = dict(zip([v.path for v in variables], used, strict=True))
        kernel = next(g for path, g in stem.items() if path.endswith("stem.kernel"))
        touched = np.any(np.array(kernel) != 0, axis=(0, 1, 2))
        assert touched[: plan[0]].all() and not touched[plan[0] :].any()
        assert all(np.all(np.isfinite(tf.convert_to_tensor(g))) for g in used)
    assert len(traces) == 1


def test_parameters_are_those_of_the_widest_network_and_of_all_norms():
    # One place: kernels of k5_e3 alone when shared, and norms of both operations.
    stage = OneShotStage((8,), 1, 1, (Operation(3, 2), Operation(5, 3)))
    space = OneShotSpace("one", 8, (4,), 1, (stage,), (8,), 3, channel_divisor=4)
    sizes = {
        shared: sum(
            int(np.prod(v.shape))
            for v in OneShotSupernet(space, has_shared_kernels=shared).blocks[0].weights
        )
        for shared in (True, False)
    }
    norms = 2 * ((8 + 8 + 8) + (12 + 12 + 8))
    largest = 4 * 12 + 25 * 12 + 12 * 8
    assert sizes[True] == largest + norms
    assert sizes[False] == largest + (4 * 8 + 9 * 8 + 8 * 8) + norms


def test_statistics_are_those_of_the_first_images_alone():
    x = tf.constant(RNG.normal(3, 2, (6, 2, 2, 4)).astype("float32"))
    ones = tf.ones(4)
    y = np.array(statistics_of_first(4)(x, ones, 0 * ones))
    np.testing.assert_allclose(y[:4].mean((0, 1, 2)), 0, atol=1e-5)
    changed = tf.concat([x[:4], 100 + x[4:]], axis=0)
    again = np.array(statistics_of_first(4)(changed, ones, 0 * ones))
    np.testing.assert_allclose(again[:4], y[:4], rtol=1e-5)


def test_all_values_of_all_decisions_compute():
    supernet = OneShotSupernet(SPACE)
    run = tf.function(lambda plan: supernet(IMAGES, plan))
    for decision, other in itertools.product(SPACE.decisions, (0, -1)):
        base = {d.path: d.values[other] for d in SPACE.decisions}
        for value in decision.values:
            plan = supernet.plan_of({**base, decision.path: value})
            assert np.all(np.isfinite(run(plan)))


@pytest.mark.parametrize("index", [0, 1, 4])
def test_used_kernels_are_those_of_the_network_that_is_cut_out(supernet, index):
    genotype = genotypes()[index]
    values = [np.array(variable) for variable in supernet.trainable_variables]
    network = inherit_weights(supernet, genotype, IMAGES)
    expected = [
        np.array(variable)
        for key, variable in network_weights(network).items()
        if key.endswith("/kernel") and "classifier" not in key
    ]
    found = used_kernels(supernet, genotype, values)
    for kernel, part in zip(expected, found, strict=True):
        np.testing.assert_array_equal(kernel.reshape(part.shape), part)
