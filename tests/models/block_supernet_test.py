import dataclasses
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.models.block_supernet import (
    BlockSupernet,
    MixedPlace,
    hard_weights,
    inherit_weights,
)
from mobilenas_tf.models.layer_set import STOCK
from mobilenas_tf.models.network_io import is_step, network_weights
from tests.small_block_space import small_bit_space, small_block_space

SPACE = small_block_space()
PATHS = [place.path for place in SPACE.places]
IMAGES = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 3)).astype("float32")


@pytest.fixture(
    scope="module", params=[("mixture", False), ("path", False), ("path", True)]
)
def supernet(request):
    keras.utils.set_random_seed(0)
    sampling, has_shared_kernels = request.param
    supernet = BlockSupernet(
        SPACE,
        sampling=sampling,
        has_shared_kernels=has_shared_kernels,
        batch_norm_momentum=0.5,
    )
    for seed in range(5):  # statistics of every candidate
        genotype = SPACE.sample(np.random.default_rng(seed))
        supernet(IMAGES, weights=tensors(genotype), training=True)
    return supernet


def tensors(genotype, space=SPACE):
    weights = hard_weights(space, genotype)
    return {path: tf.constant(each) for path, each in weights.items()}


GENOTYPES = [
    dict(zip(PATHS, indices, strict=True))
    for indices in itertools.product(range(4), range(3), range(2))
]


def test_with_hard_choices_it_is_the_compact_network(supernet):
    for genotype in GENOTYPES[::2]:
        masked = supernet(IMAGES, weights=tensors(genotype), training=False)
        compact = inherit_weights(supernet, genotype)
        np.testing.assert_allclose(compact(IMAGES), masked, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("sampling", "is_shared"), [("mixture", False), ("path", False), ("path", True)]
)
def test_with_hard_bit_widths_it_is_the_compact_network(sampling, is_shared):
    space = small_bit_space()
    keras.utils.set_random_seed(0)
    supernet = BlockSupernet(
        space,
        sampling=sampling,
        has_shared_kernels=is_shared,
        batch_norm_momentum=0.5,
    )
    rng = np.random.default_rng(0)
    # As trained: statistics and steps of all candidates that were ever drawn.
    for genotype in [space.sample(rng) for _ in range(4)]:
        supernet(IMAGES, weights=tensors(genotype, space), training=True)
    for genotype in [space.sample(rng) for _ in range(2)]:
        masked = supernet(IMAGES, weights=tensors(genotype, space), training=False)
        compact = inherit_weights(supernet, genotype)
        np.testing.assert_allclose(compact(IMAGES), masked, rtol=1e-5, atol=1e-6)


def test_steps_of_candidates_that_were_not_drawn_are_not_set():
    space = small_bit_space()
    supernet = BlockSupernet(space, sampling="path")
    genotype = {place.path: 1 for place in space.places}
    supernet(IMAGES, weights=tensors(genotype, space), training=True)
    for place in supernet.places.values():
        for index, candidate in enumerate(place.candidates):
            steps = [v for key, v in network_weights(candidate).items() if is_step(key)]
            assert len(steps) >= 4
            assert all(np.all(step.value) == (index == 1) for step in steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fbnet_32", "bits_mobilenet_v2_32"])
def test_named_spaces_derive_exactly(name):
    space = named_block_space(name, num_classes=3)
    keras.utils.set_random_seed(0)
    supernet = BlockSupernet(space, sampling="path", batch_norm_momentum=0.5)
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (16, 32, 32, 3)).astype("float32")
    for genotype in [space.sample(rng) for _ in range(3)]:
        weights = tensors(genotype, space)
        supernet(images, weights=weights, training=True)
        masked = np.array(supernet(images, weights=weights, training=False))
        compact = inherit_weights(supernet, genotype)
        scale = np.abs(masked).max()
        np.testing.assert_allclose(compact(images), masked, atol=1e-5 * scale)


def test_the_likeliest_candidates_are_taken_at_inference(supernet):
    genotype = GENOTYPES[5]
    for path, index in genotype.items():
        supernet.choices[path].logits.assign(
            np.eye(supernet.choices[path].num_candidates)[index]
        )
    expected = supernet(IMAGES, weights=tensors(genotype), training=False)
    np.testing.assert_allclose(supernet(IMAGES, training=False), expected, rtol=1e-6)


def test_a_mixture_is_the_weighted_sum_of_the_candidates():
    supernet = BlockSupernet(SPACE, sampling="mixture")
    place = supernet.places[PATHS[0]]
    x = np.random.default_rng(1).normal(size=(2, 4, 4, 8)).astype("float32")
    parts = [
        x if candidate is None else np.array(candidate(x, training=True))
        for candidate in place.candidates
    ]
    weights = np.array([0.4, 0.3, 0.2, 0.1], np.float32)
    expected = sum(w * part for w, part in zip(weights, parts, strict=True))
    np.testing.assert_allclose(
        place(x, tf.constant(weights), training=True), expected, rtol=1e-4, atol=1e-5
    )


def test_a_path_runs_the_drawn_candidates_alone_without_a_trace_for_each():
    supernet = BlockSupernet(SPACE, sampling="path", batch_norm_momentum=0.5)
    supernet(IMAGES)
    traces = []

    @tf.function
    def step(weights):
        traces.append(1)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(supernet(IMAGES, weights=weights, training=True) ** 2)
        return tape.gradient(loss, supernet.weight_variables)

    variables = supernet.weight_variables
    for genotype in GENOTYPES[:3]:
        before = statistics(supernet)
        gradients = step(tensors(genotype))
        drawn = {
            f"{path.replace('/', '.')}.{place.candidates[genotype[path]].name}"
            for path, place in zip(PATHS, SPACE.places, strict=True)
        }
        for variable, gradient in zip(variables, gradients, strict=True):
            owner = owner_of(supernet, variable)
            if owner is not None and owner not in drawn:
                assert not np.any(gradient), variable.path
        changed = {
            owner
            for owner, values in statistics(supernet).items()
            if any(np.any(a != b) for a, b in zip(values, before[owner], strict=True))
        }
        assert changed <= drawn
        assert all("skip" in d or "pooling" in d or d in changed for d in drawn)
    assert len(traces) == 1


def candidates_of(supernet):
    return [
        candidate
        for place in supernet.places.values()
        for candidate in place.candidates
        if candidate is not None
    ]


def owner_of(supernet, variable):
    for candidate in candidates_of(supernet):
        if any(variable is each for each in candidate.trainable_variables):
            return candidate.name
    return None


def statistics(supernet):
    return {
        candidate.name: [np.array(v) for v in candidate.non_trainable_variables]
        for candidate in candidates_of(supernet)
    }


@pytest.mark.parametrize("sampling", ["mixture", "path"])
def test_the_loss_reaches_every_choice(sampling):
    supernet = BlockSupernet(SPACE, sampling=sampling, temperature=1.0)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(supernet(IMAGES, training=True) ** 2)
    for gradient in tape.gradient(loss, supernet.architecture_variables):
        assert np.any(gradient) and np.all(np.isfinite(gradient))


def test_weights_and_choices_are_all_there_is():
    supernet = BlockSupernet(SPACE, layer_set=STOCK)
    supernet(IMAGES)
    assert len(supernet.architecture_variables) == len(PATHS)
    trainable = len(supernet.trainable_variables)
    assert len(supernet.weight_variables) == trainable - len(PATHS)


def test_shared_kernels_are_as_large_as_the_largest_slice_and_all_there_is():
    supernet = BlockSupernet(SPACE, sampling="path", has_shared_kernels=True)
    supernet(IMAGES)
    first = supernet.places[PATHS[0]]  # k3_e1, k5_e3, k3_e1_g2
    assert {role: kernel.shape for role, kernel in first.kernels.kernels.items()} == {
        "expand": (1, 1, 8, 24),
        "depthwise": (5, 5, 24, 1),
        "project": (1, 1, 24, 8),
        "project_g2": (1, 1, 4, 8),
    }
    for candidate in candidates_of(supernet):
        assert not any("kernel" in v.name for v in candidate.trainable_variables)


def test_a_smaller_candidate_moves_its_slice_of_a_shared_kernel_only():
    supernet = BlockSupernet(SPACE, sampling="path", has_shared_kernels=True)
    supernet(IMAGES)
    kernel = supernet.places[PATHS[0]].kernels.kernels["depthwise"]
    with tf.GradientTape() as tape:
        outputs = supernet(IMAGES, weights=tensors(GENOTYPES[0]), training=True)
        loss = tf.reduce_sum(outputs**2)
    gradient = np.array(tape.gradient(loss, kernel.value))  # of k3_e1
    inside = gradient[1:4, 1:4, :8]
    assert np.all(np.any(inside != 0, axis=2))
    gradient[1:4, 1:4, :8] = 0
    assert not np.any(gradient)


def test_explicit_padding_is_refused_with_shared_kernels():
    place = SPACE.places[0]
    candidate = place.candidates[0]
    block = dataclasses.replace(candidate.block, padding_px=1, has_residual=False)
    padded = dataclasses.replace(
        place, candidates=(dataclasses.replace(candidate, block=block),)
    )
    with pytest.raises(ValueError, match="has_shared_kernels must be False.*k3_e1 at"):
        MixedPlace(padded, sampling="path", has_shared_kernels=True)
