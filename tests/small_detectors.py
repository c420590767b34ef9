"""A small detector with every kind of head."""

from mobilenas_tf.detection_spec import (
    AnchorShape,
    DetectionHead,
    ExtraLayer,
    FpnLiteHead,
    SsdLiteHead,
)
from mobilenas_tf.spec import (
    Architecture,
    Branch,
    Convolution,
    InvertedResidual,
    Stage,
)


def small_detector(head: DetectionHead) -> Architecture:
    """Returns a detector of 64x64 images: feature maps of 4x4 and 2x2, and smaller.

    Its block from stride 16 to 32 has two kernels; the last block may vanish.
    """
    kernels = (Branch(3, 8), Branch(5, 8))
    strided = Stage((InvertedResidual(8, kernels, stride=2),))
    return Architecture(
        name="small_detector",
        image_size_px=64,
        stem=Convolution(8, 3, 2, "relu"),
        stages=(
            strided,
            strided,
            Stage((InvertedResidual(12, kernels, stride=2),)),
            Stage(
                (
                    InvertedResidual(16, kernels, stride=2, activation="hard_swish"),
                    InvertedResidual(16, kernels, has_residual=True),
                )
            ),
        ),
        head=head,
    )


_SHAPES = tuple(AnchorShape(0.3, ratio) for ratio in (1.0, 2.0, 0.5))

SSDLITE = SsdLiteHead(
    num_classes=3,
    anchors=(_SHAPES[:2], _SHAPES, _SHAPES[:1]),
    extras=(ExtraLayer(8, 12),),
    conv_channels=16,
    conv_activation="hard_swish",
)
FPNLITE = FpnLiteHead(
    num_classes=3, anchors=(_SHAPES[:2],) * 4, channels=8, tower_depth=1
)
