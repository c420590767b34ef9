"""Which image goes where: stratified train, validation and test indices.

Works on labels alone; reading images is left to the sources.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

SPLIT_SEED = 20
"""Fixed, so that every run on a data set has the same validation and test images."""

TEST_FRACTION = 0.2
"""Share carved out for testing where a data set has neither validation nor test."""


@dataclasses.dataclass(frozen=True, eq=False)
class SplitPlan:
    """Images of one split: where they are stored and which of them to take.

    Attributes:
        stored_split: Name of the stored split, such as `train`.
        indices: `[N]` int64, ascending positions in the stored split.
    """

    stored_split: str
    indices: np.ndarray


def plan_splits(
    labels_by_split: Mapping[str, np.ndarray],
    *,
    validation_fraction: float,
    max_train_images: int | None = None,
    seed: int = 0,
) -> dict[str, SplitPlan]:
    """Returns the plans of `train`, `validation` and `test`.

    A stored test split is the test split. Without one, a stored validation split takes
    its place (as is usual for ImageNet), and validation images are carved out of the
    training images; with neither, both are carved out. What is carved out is the same
    in every run and keeps the class shares.

    Args:
        labels_by_split: `[N]` class indices under `train` and, where the data set has
            them, `validation` and `test`.
        validation_fraction: Share of the training images to carve out for validation.
        max_train_images: Size of the random training subset; None keeps all.
        seed: Seed of that subset.

    Raises:
        ValueError: If there are too few images for the splits or the subset.
    """
    labels = labels_by_split["train"]
    train = np.arange(len(labels))
    stored = {
        name: SplitPlan(name, np.arange(len(labels_by_split[name])))
        for name in ("validation", "test")
        if name in labels_by_split
    }
    if "test" not in stored and "validation" in stored:
        stored = {"test": stored["validation"]}
    for name, fraction in (
        ("test", TEST_FRACTION),
        ("validation", validation_fraction),
    ):
        if name not in stored:
            count = max(1, round(fraction * len(labels)))
            carved = stratified_sample(
                labels[train], count, seed=SPLIT_SEED, leave_one=True
            )
            stored[name] = SplitPlan("train", train[carved])
            train = np.delete(train, carved)
    if max_train_images is not None and max_train_images < len(train):
        train = train[stratified_sample(labels[train], max_train_images, seed=seed)]
    return {"train": SplitPlan("train", train), **stored}


def divide_plan(
    plan: SplitPlan, labels: np.ndarray, *, share: float, seed: int
) -> tuple[SplitPlan, SplitPlan]:
    """Returns the plans of two parts of a split, of the same class shares.

    Args:
        plan: To divide.
        labels: `[N]` class indices of the stored split.
        share: Of the second part.
        seed: Seed of the choice.
    """
    count = max(1, round(share * len(plan.indices)))
    second = stratified_sample(labels[plan.indices], count, seed=seed, leave_one=True)
    first = np.delete(plan.indices, second)
    return (
        SplitPlan(plan.stored_split, first),
        SplitPlan(plan.stored_split, plan.indices[second]),
    )


def stratified_sample(
    labels: np.ndarray, count: int, *, seed: int, leave_one: bool = False
) -> np.ndarray:
    """Returns ascending indices of `count` random images with the same class shares.

    The shares are rounded by largest remainder. Each class that occurs gives at least
    one image, or, with `leave_one`, keeps at least one back.

    Args:
        labels: `[N]` class indices.
        count: Images to take.
        seed: Seed of the choice within each class.
        leave_one: Whether this carves images out of a set that goes on being used.

    Raises:
        ValueError: If `count` is impossible.
    """
    class_counts = np.bincount(labels)
    occurs = (class_counts > 0).astype(np.int64)
    least = 0 * occurs if leave_one else occurs
    most = class_counts - occurs if leave_one else class_counts
    if not least.sum() <= count <= most.sum():
        raise ValueError(
            f"count must be from {least.sum()} to {most.sum()} to take a share of "
            f"each of {occurs.sum()} classes out of {len(labels)} images; use more "
            f"images or fewer classes. Received: count={count}"
        )
    shares = count * class_counts / class_counts.sum()
    taken = np.clip(np.floor(shares).astype(np.int64), least, most)
    while (missing := count - taken.sum()) != 0:
        step = 1 if missing > 0 else -1
        may_move = taken < most if step > 0 else taken > least
        need = np.where(may_move, step * (shares - taken), -np.inf)
        taken[np.argmax(need)] += step
    order = np.random.default_rng(seed).permutation(len(labels))
    ranked = order[np.argsort(labels[order], kind="stable")]
    starts = np.cumsum(class_counts) - class_counts
    rank_in_class = np.arange(len(labels)) - starts[labels[ranked]]
    return np.sort(ranked[rank_in_class < taken[labels[ranked]]])


def balanced_class_weights(class_counts: np.ndarray) -> np.ndarray:
    """Returns `[K]` float32 weights that give every class the same total weight.

    The weight of class k is N / (K n_k), so that the mean over all images is 1. K
    counts the classes that occur; a class without images gets the weight 0.

    Args:
        class_counts: `[K]` images of each class.
    """
    occurs = class_counts > 0
    weights = class_counts.sum() / (occurs.sum() * np.maximum(class_counts, 1))
    return np.where(occurs, weights, 0).astype(np.float32)
