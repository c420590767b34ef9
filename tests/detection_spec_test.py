import dataclasses

import pytest

from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.detection_spec import (
    AnchorShape,
    ExtraLayer,
    FpnLiteHead,
    SsdLiteHead,
)
from mobilenas_tf.json_io import from_plain, to_plain
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    InvertedResidual,
    Stage,
    Tap,
    head_taps,
)
from mobilenas_tf.widths import resize, width_groups
from mobilenas_tf.zoo import zoo_architecture

SHAPE = AnchorShape(0.2, 1.0)
SSDLITE = SsdLiteHead(
    num_classes=3,
    anchors=((SHAPE,), (SHAPE,) * 2, (SHAPE,)),
    extras=(ExtraLayer(4, 6),),
    conv_channels=10,
)


def detector(*strides, head=SSDLITE, has_expansion=True, image_size_px=64):
    kernels = (Branch(3, 8), Branch(5, 8)) if has_expansion else (Branch(3, 8),)
    stages = tuple(
        Stage((InvertedResidual(8, kernels, stride, has_expansion=has_expansion),))
        for stride in strides
    )
    return Architecture("d", image_size_px, Convolution(8, 3, 2), stages, head)


def test_ssdlite_taps_the_expansion_to_stride_32_and_the_last_output():
    assert head_taps(detector(2, 2, 2, 2, 1)) == (
        Tap("stage4/block0", is_expansion=True),
        Tap("stage5/block0"),
    )


def test_without_expansion_it_taps_the_last_output_of_stride_16():
    assert head_taps(detector(2, 2, 2, 1, 2, has_expansion=False)) == (
        Tap("stage4/block0"),
        Tap("stage5/block0"),
    )


def test_a_pyramid_taps_the_last_outputs_of_three_strides():
    head = FpnLiteHead(3, ((SHAPE,),) * 4)
    assert head_taps(detector(2, 2, 1, 2, 1, 2, 1, head=head)) == (
        Tap("stage3/block0"),
        Tap("stage5/block0"),
        Tap("stage7/block0"),
    )


def test_a_backbone_must_reach_stride_32():
    with pytest.raises(ValueError, match=r"strides \(16, 32\).*none of stride 32 in d"):
        detector(2, 2, 2)


def test_a_pyramid_needs_an_image_size_that_halves():
    with pytest.raises(ValueError, match="multiple of 32 for a FpnLiteHead"):
        detector(2, 2, 2, 2, head=FpnLiteHead(3, ((SHAPE,),) * 3), image_size_px=80)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchors": ((SHAPE,),) * 2}, "two levels and one for each extra layer"),
        ({"anchors": ((SHAPE,), (), (SHAPE,))}, "must have a shape on every level"),
        ({"num_classes": 0}, "num_classes of SsdLiteHead must be an integer"),
        ({"conv_channels": 0}, "conv_channels of SsdLiteHead must be an integer"),
        ({"score_activation": "tanh"}, "must be one of sigmoid, softmax"),
    ],
)
def test_heads_refuse_what_they_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SSDLITE, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"anchors": ((SHAPE,),) * 2}, "must be at least three levels"),
        (
            {"anchors": ((SHAPE,), (SHAPE, SHAPE), (SHAPE,))},
            r"same number of shapes on every level.*\[1, 2, 1\]",
        ),
        ({"tower_depth": -1}, "tower_depth of FpnLiteHead must be 0 or more"),
    ],
)
def test_pyramids_refuse_what_they_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(FpnLiteHead(3, ((SHAPE,),) * 3), **changes)


def test_anchor_shapes_have_a_size():
    with pytest.raises(ValueError, match="must be above 0"):
        AnchorShape(0.0, 1.0)


@pytest.mark.parametrize("head", [SSDLITE, FpnLiteHead(3, ((SHAPE,),) * 3)])
def test_detectors_survive_json(head):
    architecture = detector(2, 2, 2, 2, head=head)
    assert from_plain(Architecture, to_plain(architecture), "here") == architecture


def test_extra_layers_are_width_groups():
    architecture = detector(2, 2, 2, 2)
    groups = [(g.path, g.channels) for g in width_groups(architecture)][-3:]
    assert groups == [
        ("head/conv", 10),
        ("head/extra0/squeeze", 4),
        ("head/extra0/output", 6),
    ]
    head = resize(architecture, {"head/extra0/squeeze": 2, "head/conv": 7}).head
    assert head == dataclasses.replace(
        SSDLITE, conv_channels=7, extras=(ExtraLayer(2, 6),)
    )


def test_torchvision_ssdlite_is_counted_as_published():
    # torchvision says of ssdlite320_mobilenet_v3_large: 3,440,060 parameters and
    # 0.583 GFLOPS (multiply-adds). The tail is MobileNetV3's, halved.
    backbone = zoo_architecture("mobilenet_v3_large", image_size_px=320)
    *stages, last = backbone.stages
    tail = tuple(
        dataclasses.replace(
            block,
            out_channels=80,
            branches=(Branch(5, expanded),),
            squeeze_excite=dataclasses.replace(
                block.squeeze_excite, hidden_channels=expanded // 4
            ),
        )
        for block, expanded in zip(last.blocks, (672, 480, 480), strict=True)
    )
    head = SsdLiteHead(
        num_classes=90,
        anchors=((SHAPE,) * 6,) * 6,
        extras=tuple(ExtraLayer(c // 2, c) for c in (512, 256, 256, 128)),
        conv_channels=480,
        conv_activation="hard_swish",
        score_activation="softmax",
    )
    cost = network_cost(
        dataclasses.replace(backbone, stages=(*stages, Stage(tail)), head=head)
    )
    assert cost.params == 3_440_060
    assert cost.macs == 583_171_904
