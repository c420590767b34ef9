"""ImageNet weights of `keras.applications` on the networks of the zoo.

Keras' MobileNetV2 (all width multipliers), MobileNetV3 and EfficientNet-B0 compute
the functions of our zoo networks: same channels, paddings, gates and batch-norm
epsilon. Only their input differs, see `load_imagenet_weights`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
import numpy as np

from mobilenas_tf.models.compact import IMAGENET_MEAN, IMAGENET_STDDEV
from mobilenas_tf.spec import Architecture
from mobilenas_tf.zoo import zoo_architecture


@dataclasses.dataclass(frozen=True)
class KerasTwin:
    """The constructor of a network's twin, and the sizes it has weights for."""

    build: Callable[..., keras.Model]
    sizes_px: tuple[int, ...] = (224,)


def _mobilenet_v2_twin(alpha: float) -> KerasTwin:
    build = partial(keras.applications.MobileNetV2, alpha=alpha)
    return KerasTwin(build, sizes_px=(224, 192, 160, 128, 96))


PRETRAINED: dict[str, KerasTwin] = {
    "mobilenet_v2": _mobilenet_v2_twin(1.0),
    "mobilenet_v2_0.35": _mobilenet_v2_twin(0.35),
    "mobilenet_v2_0.5": _mobilenet_v2_twin(0.5),
    "mobilenet_v2_0.75": _mobilenet_v2_twin(0.75),
    "mobilenet_v2_1.3": _mobilenet_v2_twin(1.3),
    "mobilenet_v2_1.4": _mobilenet_v2_twin(1.4),
    "mobilenet_v3_large": KerasTwin(keras.applications.MobileNetV3Large),
    "mobilenet_v3_small": KerasTwin(keras.applications.MobileNetV3Small),
    "efficientnet_b0": KerasTwin(keras.applications.EfficientNetB0),
}


def load_imagenet_weights(
    model: Any, architecture: Architecture, *, source: keras.Model | None = None
) -> tuple[str, ...]:
    """Copies the weights of the `keras.applications` twin into `model`.

    `model` takes [-1, 1], as the twin MobileNetV2 does; the twins MobileNetV3 and
    EfficientNet-B0 take [0, 255] and scale it themselves.

    Args:
        model: What `build_network(architecture)` returned.
        architecture: A network of the zoo; other classes and sizes are welcome.
        source: The twin with its classifier. By default it is made with ImageNet
            weights, which Keras downloads once: those trained at the architecture's
            size where there are some, else those for 224 px.

    Returns:
        Names of the layers left as they were: the classifier where `source` has
        another number of classes, else none.

    Raises:
        ValueError: If there are no weights for the architecture, or if `source` is
            not its twin; `model` is unchanged then.
        ConnectionError: If the weights cannot be downloaded.
    """
    check_pretrained(architecture)
    twin: Any = _download(architecture) if source is None else source
    if architecture.input_normalization == "imagenet":
        _check_normalization(twin)
    pairs = _layer_pairs(model, twin)
    skipped = ()
    target, origin = pairs[-1]
    if target.weights[0].shape[-1] != origin.weights[0].shape[-1]:
        pairs.pop()
        skipped = (target.name,)
    for target, origin in pairs:
        _check_shapes(target, origin)
    for target, origin in pairs:
        weights = zip(origin.get_weights(), target.weights, strict=True)
        target.set_weights([np.reshape(value, old.shape) for value, old in weights])
    return skipped


def _layer_pairs(model: Any, twin: Any) -> list[tuple[Any, Any]]:
    """Returns our layers that have weights, each with its counterpart in the twin.

    In both networks they form a chain, and Keras lists layers in the order of use: the
    n-th of ours is the n-th of theirs.
    """
    ours = [layer for layer in model.layers if layer.weights]
    theirs = [
        layer
        for layer in twin.layers
        if layer.weights and not isinstance(layer, keras.layers.Normalization)
    ]
    if len(ours) != len(theirs):
        raise ValueError(
            f"source must have the {len(ours)} layers with weights of {model.name}. "
            f"Received: {twin.name} with {len(theirs)}"
        )
    return list(zip(ours, theirs, strict=True))


def check_pretrained(architecture: Architecture) -> None:
    """Raises a ValueError if there are no ImageNet weights for an architecture."""
    name = check_pretrained_name(architecture.name)
    published = zoo_architecture(
        name,
        num_classes=architecture.head.num_classes,
        image_size_px=architecture.image_size_px,
    )
    if architecture != published:
        raise ValueError(
            f"architecture must be the zoo's {name} for ImageNet weights, only classes "
            "and image size may differ. Received: another network of that name"
        )


def check_pretrained_name(name: str) -> str:
    """Returns the name; a ValueError if there are no ImageNet weights of that name."""
    if name not in PRETRAINED:
        raise ValueError(
            f"architecture must be one with ImageNet weights ({', '.join(PRETRAINED)})."
            f" Received: architecture={name!r}"
        )
    return name


def _download(architecture: Architecture) -> Any:
    twin = PRETRAINED[architecture.name]
    size_px = twin.sizes_px[0]
    if architecture.image_size_px in twin.sizes_px:
        size_px = architecture.image_size_px
    try:
        return twin.build(input_shape=(size_px, size_px, 3), weights="imagenet")
    except Exception as error:
        # Keras reports a failed download by a bare Exception, h5py an OSError.
        if type(error) is not Exception and not isinstance(error, OSError):
            raise
        raise ConnectionError(
            f"ImageNet weights of {architecture.name} could not be loaded; fetch the "
            "file by hand and put it under its own name into ~/.keras/models "
            f"($KERAS_HOME/models where that is set). Received: {error}"
        ) from error


def _check_normalization(source: Any) -> None:
    """Refuses a source that does not begin with ImageNet's mean and deviation."""
    pixels = np.full((2, 1, 1, 3), [[[[0.0]]], [[[255.0]]]], "float32")
    normalized = pixels
    for layer in source.layers:
        if isinstance(layer, (keras.layers.Rescaling, keras.layers.Normalization)):
            normalized = layer(normalized)
    expected = (pixels / 255.0 - IMAGENET_MEAN) / IMAGENET_STDDEV
    if not np.allclose(normalized, expected, atol=1e-3):
        raise ValueError(
            "source must normalize its images by ImageNet's mean and standard "
            f"deviation. Received: {source.name}, which turns black into "
            f"{np.ravel(normalized)[:3]}"
        )


def _check_shapes(target: Any, origin: Any) -> None:
    """Refuses unequal shapes; a 1x1 convolution may become a dense layer."""
    shapes = [
        [tuple(size for size in weight.shape if size != 1) for weight in layer.weights]
        for layer in (target, origin)
    ]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"source must have the weights of layer {target.name} in the shapes "
            f"{shapes[0]}. Received: {shapes[1]} in layer {origin.name}"
        )
