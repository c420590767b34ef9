"""Schedules, weight decay and averaged weights against arithmetic."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.models.weight_transfer import VariableCut
from mobilenas_tf.training.config import OptimizerConfig
from mobilenas_tf.training.optimizers import (
    WarmUp,
    build_optimizer,
    carry_state,
    ema_weights,
    is_exempt_from_weight_decay,
    learning_rate_schedule,
)

STEPS_PER_EPOCH, EPOCHS = 10, 6


def schedule(batch_size=256, **options):
    return learning_rate_schedule(
        OptimizerConfig(**options),
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        batch_size=batch_size,
    )


def optimizer_of(variables, batch_size=256, **options):
    return build_optimizer(
        OptimizerConfig(**options),
        variables,
        steps_per_epoch=STEPS_PER_EPOCH,
        epochs=EPOCHS,
        batch_size=batch_size,
    )


def constant_options(**options):
    return {"schedule": "constant", "warmup_epochs": 0.0, **options}


def small_model():
    """A network with layer names like ours and every kind of variable."""
    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, name="stem_conv")(inputs)
    x = keras.layers.BatchNormalization(name="stem_bn")(x)
    x = keras.layers.DepthwiseConv2D(3, name="stage1_block0_dw3")(x)
    x = keras.layers.Conv2D(1, 1, use_bias=False, name="stage1_block0_gamma")(x)
    x = keras.layers.Conv2D(8, 1, name="stage1_block0_project")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(5, name="classifier")(x))


def test_cosine_rises_then_falls_to_zero():
    rate = schedule(learning_rate=0.2, warmup_epochs=2.0)
    # Rise: 0.2 (t + 1) / 21. Fall: 0.1 (1 + cos(pi (t - 20) / 40)).
    assert float(rate(0)) == pytest.approx(0.2 / 21)
    assert float(rate(9)) == pytest.approx(0.2 * 10 / 21)
    assert float(rate(20)) == pytest.approx(0.2)
    assert float(rate(30)) == pytest.approx(0.1 * (1 + math.cos(math.pi / 4)))
    assert float(rate(40)) == pytest.approx(0.1)
    assert float(rate(60)) == pytest.approx(0.0, abs=1e-7)


def test_exponential_decays_in_stairs_after_the_warm_up():
    rate = schedule(
        learning_rate=1.0,
        schedule="exponential",
        decay_rate=0.5,
        decay_epochs=1.5,
        warmup_epochs=1.0,
    )
    assert float(rate(4)) == pytest.approx(5 / 11)
    assert float(rate(10)) == float(rate(24)) == pytest.approx(1.0)
    assert float(rate(25)) == pytest.approx(0.5)
    assert float(rate(40)) == pytest.approx(0.25)


def test_constant_stays_where_the_warm_up_ends():
    rate = schedule(learning_rate=0.3, schedule="constant", warmup_epochs=0.5)
    assert float(rate(0)) == pytest.approx(0.05)
    assert [float(rate(step)) for step in (5, 30, 59)] == pytest.approx([0.3] * 3)


def test_the_learning_rate_grows_with_the_batch():
    rates = [
        float(schedule(batch_size, **constant_options())(0)) for batch_size in (64, 256)
    ]
    assert rates == pytest.approx([0.025, 0.1])


def test_rmsprop_has_its_own_default_learning_rate():
    options = constant_options(optimizer="rmsprop")
    assert float(schedule(**options)(0)) == pytest.approx(0.016)


def test_a_warm_up_as_long_as_the_run_is_an_error():
    with pytest.raises(ValueError, match="less than the run's 6 epochs.*=6.0"):
        schedule(warmup_epochs=6.0)


def test_a_schedule_survives_its_config():
    rate = schedule(warmup_epochs=2.0)
    same = WarmUp.from_config(rate.get_config())
    assert [float(same(t)) for t in (3, 33)] == [float(rate(t)) for t in (3, 33)]


def test_decay_is_for_kernels_but_not_depthwise_ones():
    model = small_model()
    decayed = {
        variable.path
        for variable in model.trainable_variables
        if not is_exempt_from_weight_decay(variable)
    }
    # The 1x1 convolution to a single channel has the shape of a depthwise kernel.
    assert decayed == {
        "stem_conv/kernel",
        "stage1_block0_project/kernel",
        "classifier/kernel",
    }


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
def test_a_step_without_gradient_only_decays_what_it_should(name):
    model = small_model()
    variables = model.trainable_variables
    for variable in variables:
        variable.assign(np.ones(variable.shape))
    options = constant_options(optimizer=name, learning_rate=0.5, weight_decay=0.1)
    optimizer = optimizer_of(variables, **options)

    @tf.function
    def step():
        optimizer.apply([tf.zeros(variable.shape) for variable in variables])

    step()
    for variable in variables:
        # 1 - learning rate * weight decay
        expected = 1.0 if is_exempt_from_weight_decay(variable) else 1 - 0.5 * 0.1
        np.testing.assert_allclose(variable, np.full(variable.shape, expected))


def test_sgd_with_momentum_takes_its_defining_steps():
    variable = keras.Variable(1.0)
    optimizer = optimizer_of(
        [variable], **constant_options(learning_rate=0.1, momentum=0.5)
    )
    # v = -0.1, w = 0.9; v = 0.5 * -0.1 - 0.1 = -0.15, w = 0.75.
    optimizer.apply([tf.constant(1.0)])
    optimizer.apply([tf.constant(1.0)])
    assert float(variable) == pytest.approx(0.75)


def test_nesterov_looks_ahead():
    variable = keras.Variable(1.0)
    options = constant_options(learning_rate=0.1, momentum=0.5, nesterov=True)
    optimizer = optimizer_of([variable], **options)
    # v = -0.1, w = 1 + 0.5 v - 0.1.
    optimizer.apply([tf.constant(1.0)])
    assert float(variable) == pytest.approx(0.85)


def test_rmsprop_has_epsilon_inside_the_root():
    variable = keras.Variable(1.0)
    options = constant_options(
        optimizer="rmsprop", learning_rate=0.1, momentum=0.0, rho=0.9, epsilon=0.3
    )
    optimizer = optimizer_of([variable], **options)
    # Mean square 0.1 * 4 = 0.4; step 0.1 * 2 / sqrt(0.4 + 0.3).
    optimizer.apply([tf.constant(2.0)])
    assert float(variable) == pytest.approx(1 - 0.2 / math.sqrt(0.7))


@pytest.mark.parametrize(
    ("name", "options", "kerass"),
    [
        ("adamw", {"momentum": 0.8}, lambda: keras.optimizers.AdamW(0.1, beta_1=0.8)),
        *(
            (
                "rmsprop",
                {"momentum": momentum, "rho": 0.7, "epsilon": 0.02},
                lambda momentum=momentum: keras.optimizers.RMSprop(
                    0.1, rho=0.7, momentum=momentum, epsilon=0.02
                ),
            )
            for momentum in (0.0, 0.8)
        ),
    ],
)
def test_fused_optimizers_are_keras(name, options, kerass):
    def steps(make_optimizer):
        weights = np.linspace(-1, 1, 6).reshape(2, 3)
        variable = keras.Variable(weights, dtype="float32")
        optimizer = make_optimizer([variable])
        for scale in (1.0, -3.0, 0.01):
            optimizer.apply([tf.constant(scale * np.ones((2, 3), "float32"))])
        return np.array(variable)

    def kerass_own(variables):
        optimizer = kerass()
        optimizer.weight_decay = 0.2
        return built(optimizer, variables)

    options = constant_options(learning_rate=0.1, weight_decay=0.2, **options)
    ours = steps(lambda v: optimizer_of(v, optimizer=name, **options))
    np.testing.assert_allclose(ours, steps(kerass_own), rtol=1e-5)


@pytest.mark.parametrize("name", ["sgd", "rmsprop", "adamw"])
def test_weights_need_not_decay(name):
    variable = keras.Variable(np.ones((2, 3)), dtype="float32")
    options = constant_options(optimizer=name, learning_rate=0.5, weight_decay=0.0)
    optimizer_of([variable], **options).apply([tf.zeros((2, 3))])
    np.testing.assert_array_equal(variable, np.ones((2, 3)))


def test_gradients_are_clipped_to_their_global_norm():
    variables = [keras.Variable(0.0), keras.Variable(0.0)]
    options = constant_options(learning_rate=1.0, momentum=0.0, gradient_clip_norm=1.0)
    optimizer = optimizer_of(variables, **options)
    optimizer.apply([tf.constant(3.0), tf.constant(-4.0)])
    assert [float(v) for v in variables] == pytest.approx([-0.6, 0.8])


def averaging_optimizer(variables):
    options = constant_options(
        learning_rate=1.0, momentum=0.0, weight_decay=0.0, ema_decay=0.75
    )
    return optimizer_of(variables, **options)


def test_averaged_weights_come_and_go():
    variable = keras.Variable(0.0)
    optimizer = averaging_optimizer([variable])
    for _ in range(3):
        optimizer.apply([tf.constant(-1.0)])
    # The weights are 1, 2, 3; the average starts at 1, then 0.75 * 1 + 0.25 * 2 =
    # 1.25, then 0.75 * 1.25 + 0.25 * 3 = 1.6875.
    with ema_weights(optimizer, [variable]):
        assert float(variable) == pytest.approx(1.6875)
    assert float(variable) == 3.0
    with ema_weights(optimizer, [variable]):
        assert float(variable) == pytest.approx(1.6875)


def test_weights_come_back_after_an_error():
    variable = keras.Variable(0.0)
    optimizer = averaging_optimizer([variable])
    for _ in range(2):
        optimizer.apply([tf.constant(-1.0)])
    with pytest.raises(RuntimeError), ema_weights(optimizer, [variable]):
        raise RuntimeError
    assert float(variable) == 2.0


def test_without_averaging_the_weights_stay():
    variable = keras.Variable(0.0)
    optimizer = optimizer_of([variable], **constant_options(learning_rate=1.0))
    optimizer.apply([tf.constant(-1.0)])
    with ema_weights(optimizer, [variable]):
        assert float(variable) == 1.0


def test_a_checkpoint_carries_momentum_averages_and_the_step(tmp_path):
    def run(steps, restore_from=None):
        variable = keras.Variable(1.0)
        options = {"ema_decay": 0.5, "warmup_epochs": 1.0}
        optimizer = optimizer_of([variable], **options)
        checkpoint = tf.train.Checkpoint(variable=variable.value, optimizer=optimizer)
        if restore_from:
            checkpoint.read(restore_from).assert_consumed()
        for _ in range(steps):
            optimizer.apply([variable.value * 2.0])
        with ema_weights(optimizer, [variable]):
            average = float(variable)
        return float(variable), average, checkpoint

    *uninterrupted, _ = run(5)
    *_, half_way = run(2)
    *resumed, _ = run(3, half_way.write(str(tmp_path / "checkpoint")))
    assert resumed == pytest.approx(uninterrupted)


_GRADIENT = np.array([[1.0, -2.0, 3.0], [-4.0, 5.0, -6.0]], "float32")
_AXES = {0: np.array([1]), 1: np.array([0, 2])}
_PART = np.array([[-4.0, -6.0]])  # of the gradient, and so of all that is made of it


def carried(make_optimizer, steps=2):
    """Returns the optimizer of a narrow variable and its slots by name.

    The wide one has taken some steps of the same gradient from weights of 0.
    """
    bias, wide, narrow, statistic = (
        keras.Variable(np.zeros(shape), dtype="float32", name=name)
        for shape, name in (
            ((4,), "bias"),
            ((2, 3), "kernel"),
            ((1, 2), "kernel"),
            ((4,), "statistic"),
        )
    )
    before, after = make_optimizer([bias, wide]), make_optimizer([narrow])
    for _ in range(steps):
        before.apply([tf.ones(4), tf.constant(_GRADIENT)])
    cuts = VariableCut(statistic, statistic, {}), VariableCut(wide, narrow, _AXES)
    carry_state(before, after, cuts)
    assert int(after.iterations) == steps
    assert np.all(np.array(narrow) == 0)  # weights are the caller's matter
    return after, slots_of(after)


def slots_of(optimizer):
    return {
        variable.name.removeprefix("kernel_"): np.array(variable)
        for variable in optimizer.variables
        if variable.name.startswith("kernel_")
    }


def test_momentum_is_carried():
    options = constant_options(learning_rate=0.1, momentum=0.5)
    _, slots = carried(lambda variables: optimizer_of(variables, **options))
    assert slots.keys() == {"momentum"}
    # v = -0.1 g; v = 0.5 * -0.1 g - 0.1 g.
    np.testing.assert_allclose(slots["momentum"], -0.15 * _PART, rtol=1e-6)


def test_without_momentum_only_the_step_is_carried():
    options = {"learning_rate": 0.5, "momentum": 0.0, "warmup_epochs": 1.0}
    after, slots = carried(lambda variables: optimizer_of(variables, **options))
    assert slots == {}
    # The third of ten steps of the warm-up.
    assert float(after.learning_rate) == pytest.approx(0.5 * 3 / 11)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_averages_are_carried(momentum):
    options = constant_options(
        learning_rate=1.0, momentum=momentum, weight_decay=0.0, ema_decay=0.75
    )
    _, slots = carried(lambda variables: optimizer_of(variables, **options))
    assert slots.keys() == ({"average", "momentum"} if momentum else {"average"})
    # Weights: -g, then -g - (1 + m) g; the average starts at the first of them.
    first, second = -1.0, -1.0 - (1.0 + momentum)
    average = 0.75 * first + 0.25 * second
    np.testing.assert_allclose(slots["average"], average * _PART, rtol=1e-6)


def test_both_moments_of_adam_are_carried():
    _, slots = carried(lambda variables: built(keras.optimizers.Adam(0.1), variables))
    assert slots.keys() == {"momentum", "velocity"}
    # m = (1 - 0.9) g; m = 0.9 m + (1 - 0.9) g. v likewise of g^2 with 0.999.
    np.testing.assert_allclose(slots["momentum"], (1 - 0.9**2) * _PART, rtol=1e-5)
    np.testing.assert_allclose(slots["velocity"], (1 - 0.999**2) * _PART**2, rtol=1e-4)


def test_both_moments_of_fused_adamw_are_carried():
    options = constant_options(optimizer="adamw", learning_rate=0.1)
    _, slots = carried(lambda variables: optimizer_of(variables, **options))
    assert slots.keys() == {"momentum", "velocity"}
    np.testing.assert_allclose(slots["momentum"], (1 - 0.9**2) * _PART, rtol=1e-5)
    np.testing.assert_allclose(slots["velocity"], (1 - 0.999**2) * _PART**2, rtol=1e-4)


def test_mean_square_and_momentum_of_rmsprop_are_carried():
    options = constant_options(
        optimizer="rmsprop", learning_rate=0.1, momentum=0.5, rho=0.75, epsilon=0.3
    )
    _, slots = carried(lambda variables: optimizer_of(variables, **options))
    assert slots.keys() == {"momentum", "velocity"}
    squares = [0.25 * _PART**2, (0.75 * 0.25 + 0.25) * _PART**2]
    steps = [0.1 * _PART / np.sqrt(square + 0.3) for square in squares]
    np.testing.assert_allclose(slots["velocity"], squares[1], rtol=1e-6)
    np.testing.assert_allclose(slots["momentum"], 0.5 * steps[0] + steps[1], rtol=1e-6)


def test_optimizers_of_nothing_carry_their_step():
    before, after = (built(keras.optimizers.Adam(0.1), []) for _ in range(2))
    before.iterations.assign(7)
    variable = keras.Variable(np.ones(2))
    carry_state(before, after, [VariableCut(variable, variable, {})])
    assert int(after.iterations) == 7


def built(optimizer, variables):
    optimizer.build(variables)
    return optimizer
