import numpy as np
import pytest
import tensorflow as tf

from mobilenas_tf.training.budget import BudgetSchedule, PenaltyController

SCHEDULE = BudgetSchedule(
    start_cost=800.0, budgets=(200.0,), warmup=0.2, settle=0.6, aim=0.98
)


def controller(**options):
    layer = PenaltyController(**{"total_steps": 10, **options})
    layer.build()
    return layer


def strength(layer, cost, target, is_pressing=1.0):
    return float(layer(*(tf.constant(x) for x in (cost, target, is_pressing))))


def test_the_target_falls_geometrically_from_the_start_to_the_aim():
    # 800 until 0.2, 0.98 * 200 = 196 from 0.6 on, their geometric mean half way.
    expected = {0.0: 800, 0.2: 800, 0.4: (800 * 196) ** 0.5, 0.6: 196, 1.0: 196}
    for progress, target in expected.items():
        assert float(SCHEDULE.target(progress)) == pytest.approx(target)
        as_tensor = SCHEDULE.target(tf.constant(progress, tf.float32))
        assert float(as_tensor) == pytest.approx(target, rel=1e-5)


def test_a_quarter_of_the_ramp_is_a_quarter_of_the_logarithm():
    target = float(SCHEDULE.target(0.3))
    assert target == pytest.approx(800 ** (3 / 4) * 196 ** (1 / 4))


def test_the_target_may_rise_to_a_budget_above_the_start():
    schedule = BudgetSchedule(start_cost=100.0, budgets=(400.0,), aim=1.0)
    assert float(schedule.target(0.4)) == pytest.approx(200.0)
    assert float(schedule.target(1.0)) == pytest.approx(400.0)


def test_several_budgets_have_a_stage_each():
    schedule = BudgetSchedule(
        start_cost=800.0, budgets=(400.0, 100.0), warmup=0.2, settle=0.6, aim=1.0
    )
    # From 0.2 on two stages of 0.4, the first half of each a descent.
    assert schedule.stage_ends == pytest.approx((0.6, 1.0))
    expected = {0.2: 800, 0.4: 400, 0.6: 400, 0.7: 200, 0.8: 100, 1.0: 100}
    for progress, target in expected.items():
        assert float(schedule.target(progress)) == pytest.approx(target, rel=1e-4)
    after = {0.0: 400, 0.59: 400, 0.6: 100, 0.9: 100, 1.0: 100}
    assert {p: schedule.budget_after(p) for p in after} == after


@pytest.mark.parametrize("budgets", [(), (1.0, 2.0)])
def test_budgets_out_of_order_are_refused(budgets):
    with pytest.raises(ValueError, match="one or more in falling order. Received: "):
        BudgetSchedule(start_cost=4.0, budgets=budgets)


def test_it_presses_from_the_end_of_the_warmup_on():
    pressing = [float(SCHEDULE.is_pressing(p)) for p in (0.0, 0.19, 0.2, 1.0)]
    assert pressing == [0.0, 0.0, 1.0, 1.0]
    tensor = SCHEDULE.is_pressing(tf.constant(0.5))
    assert tensor.dtype == tf.float32
    without_warmup = BudgetSchedule(start_cost=1.0, budgets=(1.0,), warmup=0.0)
    assert float(without_warmup.is_pressing(0.0)) == 1.0


@pytest.mark.parametrize(
    ("warmup", "settle"), [(-0.1, 0.5), (0.5, 0.5), (0.6, 0.5), (0.1, 1.1)]
)
def test_a_schedule_out_of_order_is_refused(warmup, settle):
    message = (
        "warmup and settle must satisfy 0 <= warmup < settle <= 1. "
        f"Received: warmup={warmup}, settle={settle}"
    )
    with pytest.raises(ValueError) as error:
        BudgetSchedule(start_cost=1.0, budgets=(1.0,), warmup=warmup, settle=settle)
    assert str(error.value) == message


def test_the_strength_is_proportional_plus_integral():
    layer = controller(proportional=4.0, integral=20.0)
    # e = 0.5: I = 20 / 10 * 0.5 = 1; then e = -0.1: I = 1 - 0.2 = 0.8.
    assert strength(layer, 150.0, 100.0) == pytest.approx(1.0 + 4 * 0.5)
    assert strength(layer, 90.0, 100.0) == pytest.approx(0.8 - 4 * 0.1)
    assert float(layer.accumulated) == pytest.approx(0.8)


def test_a_free_cost_leaves_the_controller_alone():
    layer = controller()
    assert strength(layer, 150.0, 100.0, is_pressing=0.0) == 0.0
    assert float(layer.accumulated) == 0.0


def test_a_network_that_is_too_small_is_paid_to_grow():
    assert strength(controller(), 50.0, 100.0) < 0


def test_only_the_integral_part_is_state():
    layer = controller()
    assert layer.trainable_variables == []
    assert [variable.name for variable in layer.weights] == ["accumulated"]


class Adam:
    """Adam (arXiv:1412.6980, algorithm 1) in NumPy."""

    def __init__(self, rate, shape):
        self.rate, self.step = rate, 0
        self.first, self.second = np.zeros(shape), np.zeros(shape)

    def update(self, gradient):
        self.step += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        first = self.first / (1 - 0.9**self.step)
        second = self.second / (1 - 0.999**self.step)
        return -self.rate * first / (np.sqrt(second) + 1e-7)


@pytest.mark.parametrize("budget_share", [0.2, 0.4, 0.8])
@pytest.mark.parametrize("usefulness", [0.1, 1.0, 10.0])
def test_the_closed_loop_holds_its_target(usefulness, budget_share):
    """200 gates of different price and use; the task loss falls with what stays open.

    Plant: cost(a) = sum price p, loss(a) = -sum use p, p = sigmoid(a), with noise in
    the gradient. How much the task loss depends on the gates is not known to the
    controller: `usefulness` spans two orders of magnitude.
    """
    rng = np.random.default_rng(0)
    logits = np.full(200, 2.5)
    price = rng.uniform(0.5, 2.0, 200)
    use = usefulness * rng.lognormal(-1.0, 1.0, 200) / 200
    start_cost = price.sum() / (1 + np.exp(-2.5))
    budget = budget_share * price.sum()
    schedule = BudgetSchedule(start_cost=start_cost, budgets=(budget,))
    steps = 600
    layer, optimizer = controller(total_steps=steps), Adam(40 / steps, 200)
    respond = tf.function(
        lambda cost, progress: layer(
            cost, schedule.target(progress), schedule.is_pressing(progress)
        )
    )
    costs = []
    for step in range(steps):
        p = 1 / (1 + np.exp(-logits))
        costs.append(np.sum(price * p))
        penalty = respond(
            tf.constant(costs[-1], tf.float32), tf.constant(step / steps, tf.float32)
        )
        gradient = (float(penalty) * price / start_cost - use) * p * (1 - p)
        noise = rng.normal(0, 0.5 * np.abs(gradient).mean(), 200)
        logits += optimizer.update(gradient + noise)
    held = np.array(costs[-steps // 10 :]) / schedule.aim / budget
    # The strength has to grow with the use, which takes its time; the derived network
    # is cut to the budget, so what is left here only moves its threshold from 0.5.
    assert held.mean() == pytest.approx(1.0, abs=0.06 if usefulness <= 1 else 0.2)
    assert held.std() < (0.02 if usefulness <= 1 else 0.04)


def test_the_controller_is_a_layer_that_a_checkpoint_can_hold(tmp_path):
    layer, other = controller(), controller()
    strength(layer, 150.0, 100.0)
    path = tf.train.Checkpoint(controller=layer).write(str(tmp_path / "c"))
    tf.train.Checkpoint(controller=other).read(path).assert_consumed()
    assert float(other.accumulated) == float(layer.accumulated) != 0.0
