import dataclasses

import numpy as np
import pytest

from detection.config import HeadConfig
from detection.heads import (
    check_classes,
    detector_anchors,
    detector_head,
    fit_detector,
    with_detection_head,
)
from detection.spaces import detector_space
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.detection_spec import AnchorShape, ExtraLayer, FpnLiteHead
from mobilenas_tf.spec import Tap, head_taps
from mobilenas_tf.widths import width_groups
from mobilenas_tf.zoo import zoo_architecture
from tests.small_detectors import SSDLITE, small_detector

SSD, FPN = HeadConfig(), HeadConfig(head="fpnlite")


def on_zoo(name, config=SSD, image_size_px=320):
    return with_detection_head(
        zoo_architecture(name), config, num_classes=80, image_size_px=image_size_px
    )


@pytest.mark.parametrize(
    ("name", "tap", "channels"),
    [
        # Facts of the TF Object Detection API's configurations: 672 and 576 channels.
        ("mobilenet_v3_large", "stage6/block0", 672),
        ("mobilenet_v2", "stage6/block0", 576),
    ],
)
def test_ssdlite_stands_on_the_published_expansions(name, tap, channels):
    detector = on_zoo(name)
    assert head_taps(detector)[0] == Tap(tap, is_expansion=True)
    groups = {group.path: group.channels for group in width_groups(detector)}
    assert sum(n for path, n in groups.items() if f"{tap}/kernel" in path) == channels


def test_extra_layers_are_the_published_ones_where_the_backbone_is_wide():
    # MobileNetV3-Large ends in 160 channels, MobileNetV2 in 320.
    for name in ("mobilenet_v3_large", "mobilenet_v2"):
        assert detector_head(on_zoo(name)).extras == tuple(
            ExtraLayer(channels // 2, channels) for channels in (512, 256, 256, 128)
        )


def test_extra_layers_shrink_with_the_backbone():
    # MobileNetV3-Small ends in 96 channels: 0.6 * (512, 256, 256, 128), to eights.
    extras = detector_head(on_zoo("mobilenet_v3_small")).extras
    assert [extra.out_channels for extra in extras] == [304, 152, 152, 80]


@pytest.mark.parametrize(
    ("anchors", "image_size_px", "count"),
    [
        ("object_detection_api", 320, 2034),
        ("object_detection_api", 300, 1917),
        ("torchvision", 320, 3234),
    ],
)
def test_published_numbers_of_anchors(anchors, image_size_px, count):
    config = HeadConfig(anchors=anchors)
    detector = on_zoo("mobilenet_v2", config, image_size_px)
    assert detector_anchors(detector).shape == (count, 4)


def test_a_pyramid_has_five_levels_from_stride_8():
    detector = on_zoo("mobilenet_v2", FPN)
    # Grids of 40, 20, 10, 5 and 3 cells, 6 shapes in each.
    count = (40**2 + 20**2 + 10**2 + 5**2 + 3**2) * 6
    assert detector_anchors(detector).shape == (count, 4)
    # The Object Detection API's FPNLite has squares of 32 px at 320 px first.
    assert detector_head(detector).anchors[0][0] == AnchorShape(0.1, 1.0)


def test_a_pyramid_takes_tables_with_as_many_shapes_on_every_level():
    torchvision = HeadConfig(head="fpnlite", anchors="torchvision", min_scale=0.1)
    assert len(detector_head(on_zoo("mobilenet_v2", torchvision)).anchors[0]) == 6
    with pytest.raises(ValueError, match="anchors must be auto, torchvision or multi"):
        HeadConfig(head="fpnlite", anchors="object_detection_api")


def test_levels_of_a_pyramid_share_their_predictors():
    detector = on_zoo("mobilenet_v2", FPN)
    deeper = on_zoo("mobilenet_v2", HeadConfig(head="fpnlite", tower_depth=2))
    more = network_cost(deeper).params - network_cost(detector).params
    # Two towers: one depthwise and one 1x1 convolution more for all levels, and two
    # batch norms more for each of the five.
    assert more == 2 * ((9 * 96 + 96 * 96) + 5 * 2 * (2 * 96))


def test_anchors_of_all_networks_in_a_space_are_the_same():
    space = detector_space("figs_mobilenet_v2", SSD, num_classes=10, image_size_px=160)
    small, large = (space.resolve(g) for g in (space.smallest(), space.largest()))
    np.testing.assert_array_equal(detector_anchors(small), detector_anchors(large))
    assert network_cost(small).macs < 0.1 * network_cost(large).macs


def test_the_heads_extra_layers_are_open_where_all_widths_are():
    paths = {
        name: [
            choice.path
            for choice in detector_space(
                name, SSD, num_classes=10, image_size_px=160
            ).choices
        ]
        for name in ("figs_mobilenet_v2", "figs_atomnas")
    }
    assert "head/extra0/squeeze" in paths["figs_mobilenet_v2"]
    assert not [path for path in paths["figs_atomnas"] if "extra" in path]


def test_a_detectors_head_can_be_replaced():
    detector = on_zoo("mobilenet_v2")
    other = with_detection_head(detector, FPN, num_classes=3)
    assert isinstance(other.head, FpnLiteHead)
    assert other.head.num_classes == 3
    assert with_detection_head(detector, SSD, num_classes=80) == detector


def test_fitting_keeps_a_detectors_head_and_gives_a_classifier_one():
    found = small_detector(SSDLITE)
    same = fit_detector(found, FPN, num_classes=3, image_size_px=96)
    assert same.head == SSDLITE and same.image_size_px == 96
    with pytest.raises(ValueError, match="must be the data set's 4"):
        fit_detector(found, SSD, num_classes=4, image_size_px=None)
    fitted = fit_detector(
        zoo_architecture("mobilenet_v2"), FPN, num_classes=4, image_size_px=None
    )
    assert isinstance(fitted.head, FpnLiteHead)
    assert (fitted.head.num_classes, fitted.image_size_px) == (4, 224)


def test_the_first_level_has_an_anchor_of_half_its_scale():
    head = detector_head(on_zoo("mobilenet_v2", HeadConfig(min_scale=0.1)))
    assert head.anchors[0] == (
        AnchorShape(0.05, 1.0),
        AnchorShape(0.1, 2.0),
        AnchorShape(0.1, 0.5),
    )


def test_classifiers_and_other_classes_are_refused():
    with pytest.raises(ValueError, match="must be a detector, .* classifier mobilenet"):
        detector_anchors(zoo_architecture("mobilenet_v2"))
    detector = small_detector(dataclasses.replace(SSDLITE, num_classes=3))
    check_classes(detector, 3)
    with pytest.raises(ValueError, match="must be the data set's 5"):
        check_classes(detector, 5)


def test_a_shallow_space_is_refused():
    with pytest.raises(ValueError, match="none of stride 16"):
        detector_space("figs_widths_32", SSD, num_classes=10, image_size_px=160)
