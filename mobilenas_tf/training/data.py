"""Labelled images for training and evaluating a classifier: the entry point.

The sources read images, `splits` divides them, `augmentation` varies them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf
from absl import logging

from mobilenas_tf.layers.replicas import num_replicas
from mobilenas_tf.training.augmentation import (
    CROP_SOURCE_SCALE,
    build_image_transform,
    build_mixer,
    resolve_augmentation,
)
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from mobilenas_tf.training.distribution import check_batch_size, worker_share
from mobilenas_tf.training.image_split import ImageSource, ImageSplit, LoadRequest
from mobilenas_tf.training.splits import (
    SplitPlan,
    balanced_class_weights,
    divide_plan,
    plan_splits,
)

_CALIBRATION_SEED, _SCORING_SEED = 7, 8
_PREFETCHED_BATCHES = 4
_LISTED_CLASSES = 20


@dataclasses.dataclass(frozen=True, eq=False)
class ClassificationData:
    """A classification data set, split, and ready to be read in batches.

    Images are float32 in [-1, 1], `[B, S, S, 3]` with S = `config.image_size_px`.

    Attributes:
        class_names: `[K]` names in the order of the class indices.
        train_split: Images that training sees, at the size its crop needs.
        validation_split: Images to select models by, at S.
        test_split: Images that take no part in training and selection, at S.
        config: What was asked for.
        augmentation: What was asked for, without `auto`.
        skipped_images: One line for each photo that could not be decoded.
    """

    class_names: tuple[str, ...]
    train_split: ImageSplit
    validation_split: ImageSplit
    test_split: ImageSplit
    config: DataConfig
    augmentation: AugmentationConfig
    skipped_images: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return len(self.train_split.labels)

    @property
    def num_validation(self) -> int:
        """Number of validation images."""
        return len(self.validation_split.labels)

    @property
    def num_test(self) -> int:
        """Number of test images."""
        return len(self.test_split.labels)

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in an epoch."""
        return self.num_train // self.config.batch_size

    @property
    def class_counts(self) -> np.ndarray:
        """`[K]` int64 training images of each class."""
        return count_classes(self.train_split, self.num_classes)

    @functools.cached_property
    def class_weights(self) -> np.ndarray | None:
        """`[K]` float32 weights of the classes, of mean 1 over the images, or None."""
        if self.config.class_weights == "none":
            return None
        return balanced_class_weights(self.class_counts)

    @functools.cached_property
    def _image_transform(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        return build_image_transform(
            self.augmentation, self.config.image_size_px, worker_share()
        )

    def train_epoch(self, epoch: int) -> tf.data.Dataset:
        """Returns `steps_per_epoch` batches of augmented training images.

        Order and augmentation follow from (`config.seed`, `epoch`), except for
        RandAugment, which does not repeat. Images that do not fill a batch are left
        out; which ones differs from epoch to epoch. Where several workers train, each
        gets its share of every batch; it mixes images within its share.

        Args:
            epoch: From 0.

        Returns:
            Dataset of `[B, S, S, 3]` images, `[B, K]` float32 labels that sum to 1 and
            `[B]` float32 weights, all of static shape. An image has its class's weight;
            a mixed image has a weight mixed like its label.
        """
        share, num_classes = worker_share(), self.num_classes
        batch_size = share.size(self.config.batch_size)
        epoch_seed = int(
            np.random.SeedSequence([self.config.seed, epoch]).generate_state(1)[0]
        )

        def vary(
            step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = batch
            images = tf.ensure_shape(images, (batch_size, None, None, 3))
            images = self._image_transform(images, tf.stack([epoch_seed, step]))
            labels = tf.one_hot(tf.ensure_shape(labels, (batch_size,)), num_classes)
            return to_network_input(images), labels

        def weigh(
            images: tf.Tensor, labels: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            if self.class_weights is None:
                return images, labels, tf.ones([batch_size])
            return images, labels, tf.linalg.matvec(labels, self.class_weights)

        dataset = self.train_split.batches(self.config.batch_size, epoch_seed, share)
        dataset = dataset.take(self.steps_per_epoch).enumerate()
        dataset = dataset.map(vary, num_parallel_calls=tf.data.AUTOTUNE)
        mixup_alpha, cutmix_alpha = (
            self.augmentation.mixup_alpha,
            self.augmentation.cutmix_alpha,
        )
        if mixup_alpha > 0 or cutmix_alpha > 0:
            # Not in parallel: its random numbers follow the order of the calls.
            mix = build_mixer(
                mixup_alpha=mixup_alpha, cutmix_alpha=cutmix_alpha, seed=epoch_seed
            )
            dataset = dataset.map(mix)
        return dataset.map(weigh).prefetch(_PREFETCHED_BATCHES)

    def validation(self) -> tf.data.Dataset:
        """Returns the validation images, like `test`."""
        return self._in_order(self.validation_split)

    def test(self) -> tf.data.Dataset:
        """Returns the test images in their fixed order.

        Returns:
            Dataset of `[B, S, S, 3]` images and `[B]` int32 labels. The last batch may
            be smaller; a graph function that takes `[None, S, S, 3]` is not traced anew
            for it.
        """
        return self._in_order(self.test_split)

    def calibration_images(self, count: int) -> np.ndarray:
        """Returns `[count, S, S, 3]` float32 training images without augmentation.

        They are drawn at random, the same ones at every call, and cropped as evaluation
        crops its own.

        Args:
            count: At most `num_train`.

        Raises:
            ValueError: If there are not that many training images.
        """
        if not 1 <= count <= self.num_train:
            raise ValueError(
                f"count must be from 1 to {self.num_train}, the number of training "
                f"images. Received: count={count}"
            )
        size = [self.config.image_size_px] * 2
        # Photos to zoom into are kept whole; evaluation looks at their centre.
        is_whole = self.augmentation.crop == "random_resized"
        share = self.config.central_crop_fraction if is_whole else 1.0
        batch_size = min(count, self.config.batch_size)
        found = []
        for images, _ in self.train_split.batches(batch_size, _CALIBRATION_SEED).take(
            -(-count // batch_size)
        ):
            centre = tf.image.central_crop(images, share)
            resized = tf.image.resize(centre, size, antialias=True)
            found.append(to_network_input(resized).numpy())
        return np.concatenate(found)[:count]

    def scoring_images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns validation images, `[N, S, S, 3]` float32, and their labels, `[N]`.

        They are drawn at random, the same ones at every call: in their stored order
        photos of folders stand class by class.

        Args:
            count: N, if there are as many; else all.
        """
        count = min(count, self.num_validation)
        batches = self.validation_split.batches(count, _SCORING_SEED)
        images, labels = next(iter(batches))
        return to_network_input(images).numpy(), labels.numpy()

    def _in_order(self, split: ImageSplit) -> tf.data.Dataset:
        return (
            split.batches(self.config.batch_size, None)
            .map(lambda images, labels: (to_network_input(images), labels))
            .prefetch(_PREFETCHED_BATCHES)
        )


def to_network_input(images: tf.Tensor) -> tf.Tensor:
    """Returns images in [0, 255] as float32 in [-1, 1], what every network takes."""
    return tf.cast(images, tf.float32) * (1 / 127.5) - 1.0


def count_classes(split: ImageSplit, num_classes: int) -> np.ndarray:
    """Returns `[K]` int64 images of each class in a split."""
    return np.bincount(split.labels, minlength=num_classes)


def load_classification_data(
    data_config: DataConfig, augmentation_config: AugmentationConfig
) -> ClassificationData:
    """Opens a data set, splits it, and decodes it if it fits in memory.

    Every photo becomes its central square (see `photos.decode_square`), whether held in
    memory or streamed. With crop=random_resized training keeps it `CROP_SOURCE_SCALE`
    times larger.

    Differs: from the usual ImageNet recipe in that random crops are taken from that
    square, not from the whole photo; so photos of any shape fit one array.

    Args:
        data_config: Which data.
        augmentation_config: How training images are varied.

    Raises:
        ValueError: If the data set is missing or unusable, too many photos are corrupt,
            or a batch is larger than the training split or not one for all replicas.
    """
    return _load(data_config, augmentation_config, share=0.0)[0]


def load_divided_data(
    data_config: DataConfig, augmentation_config: AugmentationConfig, *, share: float
) -> tuple[ClassificationData, ClassificationData]:
    """Returns the data set twice, with disjoint training images.

    Validation and test are the same. Batches of the second are so much smaller that an
    epoch of either has as many.

    Args:
        data_config: Which data.
        augmentation_config: How training images are varied.
        share: Of the training images that the second has, in (0, 1).

    Raises:
        ValueError: As `load_classification_data`, or if a part is too small.
    """
    first, second = _load(data_config, augmentation_config, share=share)
    batch_size = second.num_train // first.steps_per_epoch
    if batch_size < num_replicas():
        raise ValueError(
            f"batch_size must be larger, so that a share of {share:g} of the training "
            "images has one for every step and replica. "
            f"Received: batch_size={data_config.batch_size}"
        )
    batch_size -= batch_size % num_replicas()
    config = dataclasses.replace(data_config, batch_size=batch_size)
    return first, dataclasses.replace(second, config=config)


def _load(
    data_config: DataConfig, augmentation_config: AugmentationConfig, *, share: float
) -> tuple[ClassificationData, ...]:
    """Returns the data set, and once more with a share of its training images."""
    check_batch_size(data_config.batch_size)
    augmentation = resolve_augmentation(
        augmentation_config,
        dataset=data_config.dataset,
        image_size_px=data_config.image_size_px,
    )
    source = _open_source(data_config)
    plans = plan_splits(
        source.labels_by_split,
        validation_fraction=data_config.validation_fraction,
        max_train_images=data_config.max_train_images,
        seed=data_config.seed,
    )
    trained_on = ["train"]
    if share:
        plans["train"], plans["second"] = divide_plan(
            plans["train"],
            source.labels_by_split[plans["train"].stored_split],
            share=share,
            seed=data_config.seed,
        )
        trained_on.append("second")
    splits, skipped = _load_splits(source, plans, trained_on, data_config, augmentation)
    parts = tuple(
        ClassificationData(
            class_names=source.class_names,
            train_split=splits[name],
            validation_split=splits["validation"],
            test_split=splits["test"],
            config=data_config,
            augmentation=augmentation,
            skipped_images=skipped,
        )
        for name in trained_on
    )
    _check_loaded(parts[0])
    return parts


def _load_splits(
    source: ImageSource,
    plans: Mapping[str, SplitPlan],
    trained_on: Sequence[str],
    data_config: DataConfig,
    augmentation: AugmentationConfig,
) -> tuple[dict[str, ImageSplit], tuple[str, ...]]:
    """Returns the splits, and one line for each photo that had to be skipped."""
    size_px, crop_fraction = (
        data_config.image_size_px,
        data_config.central_crop_fraction,
    )
    crops = {name: (size_px, crop_fraction) for name in plans}
    if augmentation.crop == "random_resized":
        crops |= {
            name: (round(CROP_SOURCE_SCALE * size_px), 1.0) for name in trained_on
        }
    num_bytes = sum(
        len(plan.indices) * 3 * crops[name][0] ** 2 for name, plan in plans.items()
    )
    in_memory = num_bytes <= data_config.in_memory_limit_mib * 2**20
    splits, skipped = {}, ()
    for name, plan in plans.items():
        request = LoadRequest(
            plan.stored_split, plan.indices, *crops[name], in_memory=in_memory
        )
        splits[name], failed = source.load(request)
        skipped += failed
        _check_skipped(skipped, data_config.max_corrupt_images)
    return splits, skipped


def _check_loaded(data: ClassificationData) -> None:
    if data.steps_per_epoch < 1:
        raise ValueError(
            f"batch_size must be at most {data.num_train}, the number of training "
            f"images. Received: batch_size={data.config.batch_size}"
        )
    if data.skipped_images:
        empty = np.flatnonzero(data.class_counts == 0)
        if len(empty):
            raise ValueError(
                "Each class must have a training photo that decodes. Received: class="
                f"{data.class_names[empty[0]]!r}, of which none does"
            )
        logging.warning(
            "Skipped %d photos that cannot be decoded:\n%s",
            len(data.skipped_images),
            "\n".join(data.skipped_images),
        )


def _open_source(config: DataConfig) -> ImageSource:
    kind, _, name = config.dataset.partition(":")
    if kind == "tfds":
        from mobilenas_tf.training.tfds_images import open_tfds

        return open_tfds(name, config.data_dir)
    if kind == "folder":
        from mobilenas_tf.training.image_folder import open_image_folder

        return open_image_folder(name)
    from mobilenas_tf.training.digits import open_digits

    return open_digits()


def _check_skipped(skipped: tuple[str, ...], limit: int) -> None:
    if len(skipped) > limit:
        raise ValueError(
            "At most max_corrupt_images photos may fail to decode; mend or remove "
            f"them, or raise the limit. Received: {len(skipped)} photos that fail, "
            f"max_corrupt_images={limit}; the first: {'; '.join(skipped[:3])}"
        )


def describe_balance(data: ClassificationData) -> str:
    """Returns a table of how many images each class has in each split.

    Of more than 20 classes it lists the 10 largest and the 10 smallest.
    """
    splits = (data.train_split, data.validation_split, data.test_split)
    counts = np.stack([count_classes(split, data.num_classes) for split in splits], 1)
    order = np.arange(data.num_classes)
    if data.num_classes > _LISTED_CLASSES:
        by_size = np.argsort(-counts[:, 0], kind="stable")
        half = _LISTED_CLASSES // 2
        order = np.concatenate([by_size[:half], by_size[-half:]])
    weights = data.class_weights
    rows = [["class", "train", "validation", "test", "share of train", "weight"]]
    for index in order:
        split_counts = [f"{count:,}" for count in counts[index]]
        share = f"{counts[index, 0] / data.num_train:.1%}"
        weight = "1" if weights is None else f"{weights[index]:.3f}"
        rows.append([data.class_names[index], *split_counts, share, weight])
    totals = [f"{total:,}" for total in counts.sum(axis=0)]
    rows.append([f"all {data.num_classes}", *totals, "100.0%", ""])
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = []
    for name, *cells in rows:
        columns = [cell.rjust(w) for cell, w in zip(cells, widths[1:], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *columns]).rstrip())
    return "\n".join(lines)
