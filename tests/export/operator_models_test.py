import pytest

from export.interpreter import count_operators
from export.latency_builder import part_file
from export.operator_models import part_model
from mobilenas_tf.costs.latency_parts import Depthwise, Part, Pointwise, Rearrangement
from mobilenas_tf.costs.width_latency import width_parts
from mobilenas_tf.spaces import named_space
from mobilenas_tf.spec import Head, SqueezeExcite

PARTS = {
    "pointwise": (Part(Pointwise(24, "relu6"), 16, 8), (8, 8, 24)),
    "groups": (Part(Pointwise(24, groups=2), 16, 8), (8, 8, 24)),
    "depthwise": (Part(Depthwise(5, 2, "relu"), 16, 9), (5, 5, 16)),
    "padded": (Part(Depthwise(3, 2, "relu", padding_px=1), 16, 8), (4, 4, 16)),
    "concat": (Part(Rearrangement("concat"), 16, 8), (8, 8, 16)),
    "sum": (Part(Rearrangement("sum"), 16, 8), (8, 8, 16)),
    "shuffle": (Part(Rearrangement("shuffle", 2), 16, 8), (8, 8, 16)),
    "squeeze": (Part(SqueezeExcite(8), 16, 8), (8, 8, 16)),
    "classifier": (Part(Head(5), 16, 4), (5,)),
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_takes_and_gives_maps_of_its_size(kind):
    part, output = PARTS[kind]
    model = part_model(part)
    size = part.in_size_px
    expected = part.in_channels // 2 if kind == "concat" else part.in_channels
    assert model.input_shape == (None, size, size, expected)
    assert model.output_shape == (None, *output)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("pointwise", "CONV_2D"), ("sum", "ADD")])
def test_a_part_with_its_activation_is_one_operator(kind, name):
    assert count_operators(part_file(PARTS[kind][0], "int8")) == {name: 1}


def test_parts_of_a_space_have_keys_of_their_own():
    parts = width_parts(named_space("figs_mobilenet_v3_32", num_classes=10))
    assert len({part.key for part in parts.values()}) == len(parts) > 50
