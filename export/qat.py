"""Quantisation-aware training of a trained network, and its int8 file.

The network is fine-tuned as its file will compute: batch norms are folded into the
convolutions first, then weights and activations are rounded in every step. Folding for
good, rather than training on with batch norm as tfmot does, is what Nagel et al., A
White Paper on Neural Network Quantization, arXiv:2106.08295, section 5.2, find to be as
good as anything for a network that is trained already: the kernel that is rounded is
then that of the file, and statistics of rounded batches never reach it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from export.batch_norm_folding import fold_batch_norms
from export.config import ExportConfig, QatConfig, WeightScales
from export.keras_twin import tf_keras_twin
from export.qat_layers import quantization_aware
from mobilenas_tf.spec import Architecture

# `epoch -> batches (images, *targets)`, images `[B, S, S, 3]` in [-1, 1].
Batches = Callable[[int], tf.data.Dataset]
# `(outputs, *targets) -> loss []`
Loss = Callable[..., tf.Tensor]


def quantize_trained(
    architecture: Architecture,
    network: keras.Model,
    batches: Batches,
    loss: Loss,
    config: QatConfig,
    *,
    steps_per_epoch: int,
    weight_scales: WeightScales = "channel",
    progress: Callable[[int, float], None] | None = None,
) -> tf_keras.Model:
    """Returns a network fine-tuned for int8, to be given to `convert_quantized`.

    The network itself stays as it is. The ranges of activations are first taken from
    batches of epoch 0; then SGD with momentum and a cosine-shaped learning rate trains
    the folded weights. Differs: from the network's own training in that there is no
    dropout and no weight decay, as a few epochs of small steps need neither.

    Args:
        architecture: Of the network.
        network: Trained, in Keras 3, of any layer set.
        batches: What to train on. Of every epoch the first `steps_per_epoch` are used.
        loss: What to minimise, of the network's outputs for a batch and what comes
            behind the images in it.
        config: How to train.
        steps_per_epoch: Batches in an epoch.
        weight_scales: As of the file that is to be made.
        progress: Called after each step with the number of steps done and its loss.

    Raises:
        ValueError: If the network is not the architecture's, there are too few batches,
            or the loss is no longer a finite number.
    """
    folded = fold_batch_norms(tf_keras_twin(architecture, network))
    model = quantization_aware(
        folded, range_decay=config.range_decay, weight_scales=weight_scales
    )
    take_ranges(model, batches(0), config.range_batches)
    variables = model.trainable_variables
    schedule = tf_keras.optimizers.schedules.CosineDecay(
        config.learning_rate, steps_per_epoch * config.epochs
    )
    optimizer = tf_keras.optimizers.SGD(
        schedule,
        momentum=config.momentum,
        global_clipnorm=config.gradient_clip_norm or None,
        jit_compile=False,  # by XLA a CPU is ten times slower
    )
    optimizer.build(variables)

    @tf.function(reduce_retracing=True)
    def step(images: tf.Tensor, *targets: Any) -> tf.Tensor:
        with tf.GradientTape() as tape:
            value = loss(model(images, training=True), *targets)
        gradients = tape.gradient(value, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return value

    done = 0
    for epoch in range(config.epochs):
        for batch in batches(epoch).take(steps_per_epoch):
            value = float(step(*batch))
            done += 1
            if not np.isfinite(value):
                raise ValueError(
                    "loss must stay a finite number; lower learning_rate="
                    f"{config.learning_rate:g} or gradient_clip_norm. Received: loss="
                    f"{value} in step {done}"
                )
            if progress is not None:
                progress(done, value)
        if done < (epoch + 1) * steps_per_epoch:
            raise ValueError(
                f"batches must be at least steps_per_epoch={steps_per_epoch} in every "
                f"epoch. Received: {done - epoch * steps_per_epoch} in epoch {epoch}"
            )
    return model


def take_ranges(
    model: tf_keras.Model, batches: tf.data.Dataset, num_batches: int
) -> None:
    """Finds the ranges of a quantisation-aware network's activations on batches.

    Args:
        model: From `quantization_aware`.
        batches: Of `(images, *targets)`.
        num_batches: How many of them to use at most.
    """

    @tf.function(reduce_retracing=True, autograph=False)
    def observe(images: tf.Tensor) -> None:
        model(images, training=True)

    for images, *_ in batches.take(num_batches):
        observe(images)


def convert_quantized(
    model: tf_keras.Model,
    config: ExportConfig,
    *,
    tail: Callable[[bytes], bytes] | None = None,
) -> bytes:
    """Returns a quantisation-aware network as the content of a `.tflite` file.

    All inside is int8. Batch size, signature and names are those of
    `convert_to_tflite`; with uint8 input the file takes raw pixels.

    Args:
        model: From `quantize_trained`.
        config: The type of input and output.
        tail: Puts float operators behind the network, as functions of `float_tail` do.
            The outputs are float32 then, whatever the type of the input.
    """

    def named_outputs(image: tf.Tensor) -> dict[str, tf.Tensor]:
        outputs = model(image, training=False)
        return outputs if isinstance(outputs, dict) else {"logits": outputs}

    module = tf.Module()  # of the variables alone: layers would be traced one by one
    module.weights = model.variables  # pyright: ignore[reportAttributeAccessIssue]
    signature = tf.TensorSpec((1, *model.input_shape[1:]), tf.float32, name="image")
    serve = tf.function(named_outputs, input_signature=[signature], autograph=False)
    with tempfile.TemporaryDirectory() as directory:
        tf.saved_model.save(module, directory, {"serving_default": serve})
        converter = tf.lite.TFLiteConverter.from_saved_model(directory)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.inference_input_type = tf.dtypes.as_dtype(config.tensor_type)
        converter.inference_output_type = (
            tf.float32 if tail else converter.inference_input_type
        )
        content = converter.convert()
    return tail(content) if tail else content
