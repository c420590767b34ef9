import keras
import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.costs.network import cost_function, network_cost
from mobilenas_tf.models.supernet import build_supernet_model
from mobilenas_tf.training.budget import BudgetSchedule
from mobilenas_tf.training.classification import classification_objective
from mobilenas_tf.training.search_trainer import SearchTrainer
from tests.models.random_networks import batch_norm_scale_gate, hard_concrete_gate
from tests.training.synthetic import (
    all_weights,
    colour_data,
    small_space,
    small_supernet,
)

TOTAL_STEPS = 20
METRICS = [
    "loss",
    "expected_cost",
    "target_cost",
    "penalty_strength",
    "accuracy",
    "channels_alive",
]


def search_trainer(supernet=None, *, rates=(0.05, 0.1), **options):
    supernet = supernet or small_supernet()
    cost = cost_function(supernet.space.supernet, "macs")
    settings = {
        "expected_cost": cost,
        # Far below what the open gates cost: it presses from the first step on.
        "schedule": BudgetSchedule(start_cost=5e3, budgets=(2e3,), warmup=0.0),
        "temperature": lambda progress: 0.5 * tf.pow(0.2, progress),
        "total_steps": TOTAL_STEPS,
        **options,
    }
    trainer = SearchTrainer(supernet, classification_objective(), **settings)
    weight_optimizer = keras.optimizers.SGD(rates[0], momentum=0.9)
    weight_optimizer.build(supernet.weight_variables)
    trainer.compile(weight_optimizer, keras.optimizers.SGD(rates[1]))
    return trainer


def batches():
    return list(colour_data().train_epoch(0))


def weightless(batch):
    """Returns the batch with examples that do not count: the penalty is left."""
    images, labels, weights = batch
    return images, labels, tf.zeros_like(weights)


def logits_of(trainer):
    return {
        path: np.array(gate.logits, "float64")
        for path, gate in trainer.supernet.gates.items()
    }


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def cost_gradient(trainer, to_values, logits):
    """Returns central differences of the expected cost in float64, by width path."""

    def cost(logits):
        values = {path: tf.constant(to_values(path, a)) for path, a in logits.items()}
        return float(trainer.expected_cost(trainer.supernet.expected_widths(values)))

    gradient = {path: np.zeros_like(a) for path, a in logits.items()}
    for path, a in logits.items():
        for index in range(len(a)):
            step = np.zeros_like(a)
            step[index] = 1e-4
            ends = (cost({**logits, path: a + s}) for s in (step, -step))
            higher, lower = ends
            gradient[path][index] = (higher - lower) / 2e-4
    return gradient


def test_a_step_changes_weights_and_logits():
    trainer = search_trainer()
    weights = [np.array(v) for v in trainer.supernet.weight_variables]
    logits = logits_of(trainer)
    trainer.train_step(batches()[0])
    changed = [
        np.any(np.array(variable) != before)
        for variable, before in zip(
            trainer.supernet.weight_variables, weights, strict=True
        )
    ]
    # An expansion's offsets may meet a dead activation, but no layer stands still.
    assert np.mean(changed) > 0.9
    for path, gate in trainer.supernet.gates.items():
        assert np.any(np.array(gate.logits) != logits[path])
    assert int(trainer.optimizer.iterations) == 1
    assert int(trainer.architecture_optimizer.iterations) == 1


@pytest.mark.parametrize("penalty", ["probability", "sample"])
def test_gradients_of_the_penalty_are_finite_differences(penalty):
    supernet, twin = small_supernet(), small_supernet()
    rng = np.random.default_rng(0)
    for path, gate in supernet.gates.items():
        logits = rng.normal(0.0, 1.0, gate.channels)
        for same in (gate, twin.gates[path]):
            same.logits.assign(logits)
    rate = 0.5
    trainer = search_trainer(
        supernet, rates=(0.0, rate), penalty=penalty, temperature=None
    )
    before = logits_of(trainer)
    batch = weightless(batches()[0])
    figures = trainer.train_step(batch)
    change = {path: a - before[path] for path, a in logits_of(trainer).items()}
    to_values = {
        "probability": lambda path, a: sigmoid(a),
        "sample": lambda path, a: sigmoid((a + noise[path]) / 0.5),
    }[penalty]
    _, masks = twin.masked_model(batch[0], training=True)  # draws the same noise
    noise = {}
    for path, mask in masks.items():
        z = np.array(mask, "float64")
        noise[path] = 0.5 * (np.log(z) - np.log1p(-z)) - before[path]
    gradient = cost_gradient(trainer, to_values, before)
    factor = float(figures["penalty_strength"]) / trainer.schedule.start_cost
    assert factor > 0
    for path, difference in gradient.items():
        expected = -rate * factor * difference
        scale = np.abs(expected).max()
        np.testing.assert_allclose(change[path], expected, atol=2e-3 * scale)


def test_metrics_of_a_step_are_what_its_parts_say():
    trainer = search_trainer()
    cost = float(trainer._cost_of_gates())
    target = float(trainer.schedule.target(0.0))
    figures = trainer.train_step(batches()[0])
    assert list(figures) == METRICS
    assert [metric.name for metric in trainer.metrics] == METRICS
    assert float(figures["expected_cost"]) == pytest.approx(cost, rel=1e-6)
    assert float(figures["target_cost"]) == pytest.approx(target, rel=1e-6)
    # All gates are open at first: stem 8, kernels 4 * 16, output 8, head 16.
    assert float(figures["channels_alive"]) == 8 + 64 + 8 + 16
    error = cost / target - 1
    controller = trainer.controller
    strength = (controller.integral + controller.proportional) * error
    assert float(figures["penalty_strength"]) == pytest.approx(strength, rel=1e-5)


def test_the_expected_cost_is_that_of_the_initial_probabilities():
    trainer = search_trainer()
    p = sigmoid(2.5)
    presence = 1 - (1 - p) ** 32
    expected = network_cost(
        trainer.supernet.space.supernet,
        {
            "stem/output": 8 * p,
            **{
                f"stage1/block{block}/kernel{kernel}": 16 * p
                for block in (0, 1)
                for kernel in (3, 5)
            },
            "stage1/block0/output": 8 * p,
            "stage1/block1/presence": presence,
            "head/conv": 16 * p,
        },
    )
    cost = float(trainer._cost_of_gates())
    assert cost == pytest.approx(expected.macs, rel=1e-5)


def test_the_sampled_penalty_is_taken_of_the_masks():
    supernet, twin = small_supernet(), small_supernet()
    trainer = search_trainer(supernet, penalty="sample", temperature=None)
    images, labels, weights = batches()[0]
    _, masks = twin.masked_model(images, training=True)
    sampled = float(trainer.expected_cost(twin.expected_widths(masks)))
    figures = trainer.train_step((images, labels, weights))
    assert float(figures["expected_cost"]) == pytest.approx(sampled, rel=1e-5)


def test_temperature_and_target_follow_the_progress():
    trainer = search_trainer()
    step = tf.function(trainer.train_step)
    for number, batch in enumerate(batches()):
        for metric in trainer.metrics:
            metric.reset_state()
        figures = step(batch)
        progress = number / TOTAL_STEPS
        for gate in trainer.supernet.gates.values():
            assert float(gate.temperature) == pytest.approx(0.5 * 0.2**progress)
        target = float(trainer.schedule.target(progress))
        assert float(figures["target_cost"]) == pytest.approx(target, rel=1e-5)


def test_hard_concrete_gates_need_no_temperature():
    supernet = build_supernet_model(
        small_space(),
        hard_concrete_gate,
    )
    trainer = search_trainer(supernet, temperature=None)
    before = logits_of(trainer)
    figures = trainer.train_step(batches()[0])
    assert np.isfinite(float(figures["loss"]))
    for path, a in logits_of(trainer).items():
        assert np.any(a != before[path])


def batch_norm_scale_supernet():
    return build_supernet_model(
        small_space(),
        batch_norm_scale_gate,
    )


def test_the_penalty_is_a_weighted_l1_of_batch_norm_scales():
    supernet = batch_norm_scale_supernet()
    stem, head = (supernet.model.get_layer(f"{name}.bn") for name in ("stem", "head"))
    # Signs by turns; the stem's channels have a second producer, of smaller scale.
    signs = {
        norm: np.where(np.arange(norm.gamma.shape[0]) % 2, -1.0, 1.0)
        for norm in (stem, head)
    }
    for norm, sign in signs.items():
        norm.gamma.assign(2.0 * sign)
    rate = 0.01
    trainer = search_trainer(supernet, rates=(rate, 0.1), temperature=None)
    assert trainer.supernet.architecture_variables == []
    figures = trainer.train_step(weightless(batches()[0]))
    strength = float(figures["penalty_strength"]) / trainer.schedule.start_cost
    assert strength > 0

    def macs(path, lost):
        widths = supernet.space.largest()
        return network_cost(
            supernet.space.supernet, {**widths, path: widths[path] - lost}
        ).macs

    for norm, path in ((stem, "stem/output"), (head, "head/conv")):
        price = (macs(path, -0.001) - macs(path, 0.001)) / 0.002
        expected = (2.0 - rate * strength * price) * signs[norm]
        np.testing.assert_allclose(norm.gamma, expected, rtol=1e-5)


def test_a_search_without_gate_variables_trains_and_goes_on(tmp_path):
    first, second = (
        search_trainer(batch_norm_scale_supernet(), temperature=None) for _ in range(2)
    )
    step = tf.function(first.train_step)
    for batch in batches()[:2]:
        figures = step(batch)
    assert np.isfinite(float(figures["loss"]))
    path = tf.train.Checkpoint(**first.checkpoint_items()).write(str(tmp_path / "c"))
    tf.train.Checkpoint(**second.checkpoint_items()).read(path).assert_consumed()
    for trainer in (first, second):
        trainer.train_step(batches()[2])
    for ours, theirs in zip(
        all_weights(first.supernet.model),
        all_weights(second.supernet.model),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_a_checkpoint_restores_everything_exactly(tmp_path):
    first = search_trainer()
    for batch in batches()[:2]:
        first.train_step(batch)
    path = tf.train.Checkpoint(**first.checkpoint_items()).write(str(tmp_path / "c"))
    second = search_trainer()
    tf.train.Checkpoint(**second.checkpoint_items()).read(path).assert_consumed()
    # Both optimizers, controller, temperature, noise: the next step is the same.
    figures = []
    for trainer in (first, second):
        for metric in trainer.metrics:
            metric.reset_state()
        figures.append(trainer.train_step(batches()[2]))
    assert {k: float(v) for k, v in figures[0].items()} == {
        k: float(v) for k, v in figures[1].items()
    }
    for ours, theirs in zip(
        all_weights(first.supernet.model),
        all_weights(second.supernet.model),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_calling_the_trainer_is_calling_the_supernet():
    trainer = search_trainer()
    images = batches()[0][0]
    np.testing.assert_array_equal(
        np.array(trainer(images)), np.array(trainer.supernet.model(images))
    )


def test_plain_fit_trains_it():
    trainer = search_trainer()
    dataset = colour_data().train_epoch(0)
    history = trainer.fit(dataset, epochs=2, verbose=0, shuffle=False).history
    assert sorted(history) == sorted(METRICS)
    assert all(np.isfinite(history["loss"]))
    assert int(trainer.optimizer.iterations) == 8


def test_an_unknown_penalty_is_refused():
    message = "penalty must be probability or sample. Received: penalty='mask'"
    with pytest.raises(ValueError, match=message):
        search_trainer(penalty="mask")
