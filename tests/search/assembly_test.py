import dataclasses

from mobilenas_tf.layers.gates import (
    BatchNormScaleGate,
    HardConcreteGate,
    LogisticSigmoidGate,
    WidthChoiceGate,
)
from mobilenas_tf.search.assembly import gate_factory
from mobilenas_tf.search.config import FigsConfig
from mobilenas_tf.space import Choice

CHOICE = Choice("stem/output", (2, 4))


def test_gates_are_the_configured_ones():
    config = FigsConfig(
        temperature_start=0.3, estimator="straight_through", initial_logit=1.5
    )
    gate = gate_factory(config)(CHOICE, "stem.gate", 7)
    assert isinstance(gate, LogisticSigmoidGate)
    expected = {
        "channels": 4,
        "name": "stem.gate",
        "seed": 7,
        "temperature": 0.3,
        "estimator": "straight_through",
        "initial_logit": 1.5,
    }
    assert {key: gate.get_config()[key] for key in expected} == expected
    config = dataclasses.replace(config, gate="hard_concrete")
    hard = gate_factory(config)(CHOICE, "a", 7)
    assert isinstance(hard, HardConcreteGate)
    assert (hard.channels, hard.seed, hard.initial_logit) == (4, 7, 1.5)
    config = dataclasses.replace(config, gate="batch_norm_scale")
    scales = gate_factory(config)(CHOICE, "a", 7)
    assert isinstance(scales, BatchNormScaleGate)
    assert (scales.channels, scales.name) == (4, "a")
    config = dataclasses.replace(config, gate="width_choice")
    counts = gate_factory(config)(CHOICE, "a", 7)
    assert isinstance(counts, WidthChoiceGate)
    assert (counts.widths, counts.seed) == ((2, 4), 7)
