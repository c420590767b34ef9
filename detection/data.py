"""Annotated images for training and evaluating a detector: the entry point.

The sources read images and boxes, `splits` divides them, `scene_augmentation` varies
them.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import tensorflow as tf
from absl import logging

from detection.config import DetectionDataConfig, SceneAugmentationConfig
from detection.scene import Scene, SceneSource, build_coco_dictionary
from detection.scene_augmentation import (
    Targets,
    build_scene_transform,
    mix_mosaics,
    resolve_scene_augmentation,
)
from detection.scene_split import SceneSplit, load_split
from mobilenas_tf.training.augmentation import CROP_SOURCE_SCALE
from mobilenas_tf.training.data import to_network_input
from mobilenas_tf.training.distribution import check_batch_size, worker_share
from mobilenas_tf.training.image_split import index_order
from mobilenas_tf.training.splits import plan_splits

EvaluationSplit = Literal["validation", "test"]

_CALIBRATION_SEED = 7
_PREFETCHED_BATCHES = 4
_SHOWN_PROBLEMS = 5
_PUT_THERE = (
    "put its photos where the annotations say (a file_name of coco:DIR is relative to "
    "the folder of photos, such as DIR/train2017)"
)


@dataclasses.dataclass(frozen=True, eq=False)
class DetectionData:
    """A detection data set, split, and ready to be read in batches.

    Images are float32 in [-1, 1], `[B, S, S, 3]` with S = `config.image_size_px`; they
    are whole photos, stretched. Targets are a dict of `boxes_normalized` `[B, G, 4]`
    float32, `labels` `[B, G]` int32 (-1 is padding) and `is_ignored` `[B, G]` bool,
    with G = `config.max_boxes`.

    Attributes:
        class_names: `[K]` names in the order of the class indices.
        category_ids: `[K]` numbers that the data set itself gives the classes.
        train_split: Scenes that training sees, at the size its crop needs.
        validation_split: Scenes to select models by, at S.
        test_split: Scenes that take no part in training and selection, at S.
        config: What was asked for.
        augmentation: What was asked for, without `auto`.
        skipped_images: One line for each photo that could not be decoded.
    """

    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    train_split: SceneSplit
    validation_split: SceneSplit
    test_split: SceneSplit
    config: DetectionDataConfig
    augmentation: SceneAugmentationConfig
    skipped_images: tuple[str, ...] = ()

    @property
    def num_classes(self) -> int:
        """K."""
        return len(self.class_names)

    @property
    def num_train(self) -> int:
        """Number of training images."""
        return len(self.train_split.scenes)

    @property
    def num_validation(self) -> int:
        """Number of validation images."""
        return len(self.validation_split.scenes)

    @property
    def num_test(self) -> int:
        """Number of test images."""
        return len(self.test_split.scenes)

    @property
    def steps_per_epoch(self) -> int:
        """Number of whole batches in an epoch."""
        return self.num_train // self.config.batch_size

    @functools.cached_property
    def _transform(
        self,
    ) -> Callable[[tf.Tensor, Targets, tf.Tensor], tuple[tf.Tensor, Targets]]:
        return build_scene_transform(self.augmentation, self.config.image_size_px)

    def train_epoch(self, epoch: int) -> tf.data.Dataset:
        """Returns `steps_per_epoch` batches of augmented training images.

        Order and augmentation follow from (`config.seed`, `epoch`). Images that do not
        fill a batch are left out; which ones differs from epoch to epoch. Where several
        workers train, each gets its share of every batch, and its mosaics are of that.

        Args:
            epoch: From 0.

        Returns:
            Dataset of images and targets of static shape.
        """
        share, batch_size = worker_share(), self.config.batch_size
        share_size = share.size(batch_size)
        order_seed, scene_seed, mosaic_seed = np.random.SeedSequence(
            [self.config.seed, epoch]
        ).generate_state(3)
        order = index_order(self.num_train, int(order_seed))
        order = order[: self.steps_per_epoch * batch_size]
        mosaic_probability = self.augmentation.mosaic_probability

        def mix(
            step: tf.Tensor, scenes: tuple[tf.Tensor, Targets]
        ) -> tuple[tf.Tensor, Targets]:
            return mix_mosaics(
                *scenes,
                probability=mosaic_probability,
                seed=tf.stack([int(mosaic_seed), step]),
            )

        def vary(
            scene: tuple[tf.Tensor, Targets], position: tf.Tensor
        ) -> tuple[tf.Tensor, Targets]:
            image, targets = self._transform(
                *scene, tf.stack([int(scene_seed), position])
            )
            return to_network_input(image), targets

        dataset = tf.data.Dataset.from_tensor_slices(share.pick(order, batch_size))
        dataset = dataset.map(
            self.train_split.read, num_parallel_calls=tf.data.AUTOTUNE
        )
        if mosaic_probability > 0:
            dataset = dataset.batch(share_size, drop_remainder=True).enumerate()
            dataset = dataset.map(mix, num_parallel_calls=tf.data.AUTOTUNE).unbatch()
        positions = share.pick(np.arange(len(order)), batch_size)
        return (
            tf.data.Dataset.zip(dataset, tf.data.Dataset.from_tensor_slices(positions))
            .map(vary, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(share_size, drop_remainder=True)
            .prefetch(_PREFETCHED_BATCHES)
        )

    def validation(self) -> tf.data.Dataset:
        """Returns the validation images, like `test`."""
        return self._in_order(self.validation_split)

    def test(self) -> tf.data.Dataset:
        """Returns the test images and targets in their fixed order.

        The last batch may be smaller; a graph function that takes `[None, S, S, 3]` is
        not traced anew for it. The targets have at most `config.max_boxes` boxes an
        image; `ground_truth` has all.
        """
        return self._in_order(self.test_split)

    def ground_truth(self, split: EvaluationSplit) -> dict[str, Any]:
        """Returns a split as a COCO dictionary, images in the order of the batches.

        Ids, sizes and boxes are the data set's own, in pixels of the original photos;
        boxes end at the photo's border. What is ignored has `iscrowd` 1.
        """
        return build_coco_dictionary(
            self._scenes(split),
            class_names=self.class_names,
            category_ids=self.category_ids,
        )

    def image_ids(self, split: EvaluationSplit) -> np.ndarray:
        """Returns `[N]` int64 ids of a split's images, in the order of the batches."""
        return np.array([scene.image_id for scene in self._scenes(split)], np.int64)

    def image_sizes(self, split: EvaluationSplit) -> np.ndarray:
        """Returns `[N, 2]` int64 original heights and widths, in the same order."""
        sizes = [(scene.height, scene.width) for scene in self._scenes(split)]
        return np.array(sizes, np.int64).reshape(-1, 2)

    def calibration_images(self, count: int) -> np.ndarray:
        """Returns `[count, S, S, 3]` float32 training images without augmentation.

        They are drawn at random, the same ones at every call.

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

        def read(index: tf.Tensor) -> tf.Tensor:
            image, _ = self.train_split.read(index)
            return to_network_input(tf.image.resize(image, size, antialias=True))

        chosen = index_order(self.num_train, _CALIBRATION_SEED)[:count]
        dataset = tf.data.Dataset.from_tensor_slices(chosen).map(
            read, num_parallel_calls=tf.data.AUTOTUNE
        )
        return np.stack(list(dataset.as_numpy_iterator()))

    def _in_order(self, split: SceneSplit) -> tf.data.Dataset:
        return (
            tf.data.Dataset.from_tensor_slices(index_order(len(split.scenes), None))
            .map(split.read, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(self.config.batch_size)
            .map(lambda images, targets: (to_network_input(images), targets))
            .prefetch(_PREFETCHED_BATCHES)
        )

    def _scenes(self, split: EvaluationSplit) -> tuple[Scene, ...]:
        splits = {"validation": self.validation_split, "test": self.test_split}
        if split not in splits:
            raise ValueError(
                f"split must be one of {', '.join(splits)}. Received: split={split!r}"
            )
        return splits[split].scenes


def load_detection_data(
    data_config: DetectionDataConfig, augmentation_config: SceneAugmentationConfig
) -> DetectionData:
    """Opens a data set, splits it, and decodes it if it fits in memory.

    A stored validation split without a test split is the test split, and a validation
    split is carved out of the training images, the same in every run.

    With random_crop training keeps images up to `CROP_SOURCE_SCALE` times larger.

    Args:
        data_config: Which data.
        augmentation_config: How training images are varied.

    Raises:
        ValueError: If the data set is missing or unusable, too many annotations are bad
            or photos corrupt, a split is left without an image or training without an
            object, or a batch is larger than the training split or not one for all
            replicas.
    """
    check_batch_size(data_config.batch_size)
    source = _open_source(data_config)
    for name, scenes in source.scenes_by_split.items():
        _check_not_empty(scenes, name, source.problems, advice=_PUT_THERE)
    _report_problems(source.problems, data_config.max_bad_annotations)
    scenes_by_split = _split_scenes(source, data_config)
    sizes_px = dict.fromkeys(scenes_by_split, data_config.image_size_px)
    if augmentation_config.random_crop:
        sizes_px["train"] = _crop_source_size(
            scenes_by_split["train"], data_config.image_size_px
        )
    num_bytes = sum(
        len(scenes) * 3 * sizes_px[name] ** 2
        for name, scenes in scenes_by_split.items()
    )
    splits, skipped = {}, ()
    for name, scenes in scenes_by_split.items():
        splits[name], failed = load_split(
            scenes,
            size_px=sizes_px[name],
            max_boxes=data_config.max_boxes,
            in_memory=num_bytes <= data_config.in_memory_limit_mib * 2**20,
        )
        skipped += failed
        _check_not_empty(splits[name].scenes, name, failed, advice="mend its photos")
        if len(skipped) > data_config.max_corrupt_images:
            raise ValueError(
                "At most max_corrupt_images photos may fail to decode; mend or remove "
                f"them, or raise the limit. Received: {len(skipped)} photos that fail, "
                f"max_corrupt_images={data_config.max_corrupt_images}; the first: "
                f"{'; '.join(skipped[:3])}"
            )
    data = DetectionData(
        class_names=source.class_names,
        category_ids=source.category_ids,
        train_split=splits["train"],
        validation_split=splits["validation"],
        test_split=splits["test"],
        config=data_config,
        augmentation=resolve_scene_augmentation(
            augmentation_config, dataset=data_config.dataset
        ),
        skipped_images=skipped,
    )
    _check_usable(data)
    return data


def _open_source(config: DetectionDataConfig) -> SceneSource:
    kind, _, name = config.dataset.partition(":")
    if kind == "coco":
        from detection.coco_data import open_coco

        return open_coco(name)
    if kind == "tfds":
        from detection.tfds_scenes import open_tfds_scenes

        return open_tfds_scenes(name, config.data_dir)
    from detection.digit_scenes import open_digit_scenes

    return open_digit_scenes()


def _check_not_empty(
    scenes: Sequence[Scene], split: str, problems: Sequence[str], *, advice: str
) -> None:
    """Raises a ValueError, with the first problem, if a split has no image left."""
    if not scenes:
        first = f"; the first of its problems: {problems[0]}" if problems else ""
        raise ValueError(
            f"The {split} split must have at least one image; {advice}. Received: no "
            f"image{first}"
        )


def _report_problems(problems: Sequence[str], limit: int) -> None:
    shown = "\n".join(problems[:_SHOWN_PROBLEMS])
    if len(problems) > limit:
        raise ValueError(
            "At most max_bad_annotations annotations may be bad; mend them or raise "
            f"the limit. Received: {len(problems)} bad ones, "
            f"max_bad_annotations={limit}; the first:\n{shown}"
        )
    if problems:
        logging.warning(
            "%d annotations are bad (max_bad_annotations=%d). The first:\n%s",
            len(problems),
            limit,
            shown,
        )


def _split_scenes(
    source: SceneSource, config: DetectionDataConfig
) -> Mapping[str, tuple[Scene, ...]]:
    """Returns the scenes of train, validation and test.

    An image has objects of many classes, so the shares of the classes are left to
    chance: to `plan_splits` all images are of one class.
    """
    plans = plan_splits(
        {
            name: np.zeros(len(scenes), np.int64)
            for name, scenes in source.scenes_by_split.items()
        },
        validation_fraction=config.validation_fraction,
        max_train_images=config.max_train_images,
        seed=config.seed,
    )
    return {
        name: tuple(
            source.scenes_by_split[plan.stored_split][index] for index in plan.indices
        )
        for name, plan in plans.items()
    }


def _crop_source_size(scenes: Sequence[Scene], image_size_px: int) -> int:
    """Returns the size to keep images at that crops are taken from.

    More than a photo's own pixels are of no use.
    """
    longest = max(max(scene.height, scene.width) for scene in scenes)
    return min(round(CROP_SOURCE_SCALE * image_size_px), max(image_size_px, longest))


def _check_usable(data: DetectionData) -> None:
    if data.steps_per_epoch < 1:
        raise ValueError(
            f"batch_size must be at most {data.num_train}, the number of training "
            f"images. Received: batch_size={data.config.batch_size}"
        )
    if all(np.all(scene.is_ignored) for scene in data.train_split.scenes):
        raise ValueError(
            "The training images must have an object that is not ignored. Received: "
            f"{data.num_train} images without one, dataset={data.config.dataset!r}"
        )
    if data.skipped_images:
        logging.warning(
            "Skipped %d photos that cannot be decoded:\n%s",
            len(data.skipped_images),
            "\n".join(data.skipped_images),
        )
    if data.train_split.num_truncated:
        logging.warning(
            "%d training images have more than max_boxes=%d boxes; training sees the "
            "largest.",
            data.train_split.num_truncated,
            data.config.max_boxes,
        )
