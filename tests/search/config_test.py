import subprocess
import sys

import pytest

from mobilenas_tf.search.config import BudgetConfig, FigsConfig


def test_budgets_name_their_metric_and_fall():
    macs = BudgetConfig(max_macs=(5e6, 8e6))
    assert (macs.metric, macs.budgets) == ("macs", (8e6, 5e6))
    params = BudgetConfig(max_params=(3e5,))
    assert (params.metric, params.budgets) == ("params", (3e5,))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {},
            "exactly one of max_macs, max_params and max_ms must be given. "
            "Received: none",
        ),
        (
            {"max_macs": (1.0,), "max_params": (2.0,)},
            "exactly one of max_macs, max_params and max_ms must be given. "
            "Received: max_macs, max_params",
        ),
        (
            {"max_macs": (0.0,)},
            "max_macs must be distinct numbers above 0. Received: max_macs=(0.0,)",
        ),
        (
            {"max_params": (2.0, 2.0)},
            "max_params must be distinct numbers above 0. "
            "Received: max_params=(2.0, 2.0)",
        ),
    ],
)
def test_a_budget_that_is_none_is_refused(options, message):
    with pytest.raises(ValueError) as error:
        BudgetConfig(**options)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channel_divisor": 0}, "channel_divisor must be at least 1. Received: "),
        ({"gate": "sigmoid"}, "gate must be one of logistic_sigmoid, hard_concrete"),
        ({"estimator": "hard"}, "estimator must be one of soft, straight_through"),
        ({"penalty": "mask"}, "penalty must be one of probability, sample"),
        (
            {"penalty": "sample", "gate": "batch_norm_scale"},
            "penalty must be probability with gate=batch_norm_scale, which does not",
        ),
        ({"temperature_start": 0}, "temperature_start must be above 0"),
        ({"temperature_end": -1}, "temperature_end must be above 0"),
        ({"gate_learning_rate": 0}, "gate_learning_rate must be above 0 or not given"),
        ({"dead_below": 0.5}, "dead_below must be in (0, 0.5)"),
        ({"retrace_steps": -1}, "retrace_steps must be 0 or more"),
        ({"warmup_fraction": 0.4}, "warmup_fraction must be from 0 to below settle_f"),
        ({"warmup_fraction": -0.1}, "warmup_fraction must be from 0 to below settle_"),
        ({"settle_fraction": 1.5}, "settle_fraction must be at most 1"),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(options, message):
    with pytest.raises(ValueError) as error:
        FigsConfig(**options)
    assert message in str(error.value)
    (name, value), *_ = options.items()
    assert f"Received: {name}={value!r}" in str(error.value)


def test_gates_start_at_morph_nets_log_odds():
    assert FigsConfig().initial_logit == 2.5


def test_configs_import_no_tensorflow():
    code = "import sys, mobilenas_tf.search.config; print('tensorflow' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
