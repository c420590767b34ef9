"""Stratified splits and class weights against counts worked out by hand."""

import numpy as np
import pytest

from mobilenas_tf.training.splits import (
    SplitPlan,
    balanced_class_weights,
    divide_plan,
    plan_splits,
    stratified_sample,
)

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


def sizes(plans):
    return {name: len(plan.indices) for name, plan in plans.items()}


def test_stratified_sample_keeps_the_class_shares():
    chosen = stratified_sample(LABELS, 10, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [5, 3, 2]
    assert np.all(np.diff(chosen) > 0)


def test_stratified_sample_rounds_by_largest_remainder():
    # Shares 5 * (0.5, 0.3, 0.2) = (2.5, 1.5, 1.0): floors 2, 1, 1, and the first
    # of the two equal remainders gets the fifth.
    chosen = stratified_sample(LABELS, 5, seed=0)
    assert np.bincount(LABELS[chosen]).tolist() == [3, 1, 1]


def test_stratified_sample_takes_one_of_a_rare_class():
    labels = np.repeat([0, 1], [99, 1])
    chosen = stratified_sample(labels, 2, seed=0)
    assert np.bincount(labels[chosen]).tolist() == [1, 1]


def test_stratified_sample_for_carving_leaves_one_of_a_rare_class():
    labels = np.repeat([0, 1], [10, 1])
    chosen = stratified_sample(labels, 10 - 1, seed=0, leave_one=True)
    assert np.bincount(labels[chosen], minlength=2).tolist() == [9, 0]


def test_stratified_sample_skips_class_indices_that_do_not_occur():
    labels = np.array([0, 0, 5, 5])
    chosen = stratified_sample(labels, 2, seed=0)
    assert sorted(labels[chosen]) == [0, 5]


def test_stratified_sample_follows_the_seed():
    first, again, other = (stratified_sample(LABELS, 10, seed=s) for s in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


def test_an_impossible_sample_is_an_error_with_its_limits():
    with pytest.raises(ValueError, match="count must be from 3 to 100.*count=2"):
        stratified_sample(LABELS, 2, seed=0)


def test_a_single_split_is_divided_70_10_20():
    plans = plan_splits({"train": LABELS}, validation_fraction=0.1)
    assert sizes(plans) == {"train": 70, "test": 20, "validation": 10}
    together = np.concatenate([plan.indices for plan in plans.values()])
    assert sorted(together) == list(range(100))
    assert np.bincount(LABELS[plans["test"].indices]).tolist() == [10, 6, 4]


def test_stored_splits_are_taken_as_they_are():
    plans = plan_splits(
        {"train": LABELS, "validation": LABELS[:7], "test": LABELS[:9]},
        validation_fraction=0.1,
    )
    assert sizes(plans) == {"train": 100, "validation": 7, "test": 9}
    assert plans["validation"].stored_split == "validation"


def test_without_a_test_split_the_validation_split_takes_its_place():
    plans = plan_splits(
        {"train": LABELS, "validation": LABELS[:7]}, validation_fraction=0.1
    )
    assert plans["test"].stored_split == "validation"
    assert plans["validation"].stored_split == "train"
    assert sizes(plans) == {"train": 90, "validation": 10, "test": 7}


def test_the_training_subset_follows_its_seed_and_leaves_the_other_splits_alone():
    def plan(seed):
        return plan_splits(
            {"train": LABELS}, validation_fraction=0.1, max_train_images=30, seed=seed
        )

    first, other = plan(0), plan(1)
    assert len(first["train"].indices) == 30
    assert first["train"].indices.tolist() == plan(0)["train"].indices.tolist()
    assert first["train"].indices.tolist() != other["train"].indices.tolist()
    for name in ("validation", "test"):
        assert first[name].indices.tolist() == other[name].indices.tolist()
        assert not set(first[name].indices) & set(first["train"].indices)


def test_balanced_weights_are_images_over_classes_times_class_images():
    # N / (K n_k) = 12 / (3 * (6, 4, 2)).
    weights = balanced_class_weights(np.array([6, 4, 2]))
    np.testing.assert_allclose(weights, [12 / 18, 1.0, 2.0], rtol=1e-6)
    assert weights.dtype == np.float32


def test_a_class_without_images_has_no_weight_and_is_not_counted():
    weights = balanced_class_weights(np.array([6, 0, 2]))
    np.testing.assert_allclose(weights, [8 / 12, 0.0, 2.0], rtol=1e-6)


def test_a_divided_plan_keeps_shares_and_loses_nothing():
    labels = np.repeat([0, 1, 2], [50, 30, 20])
    plan = SplitPlan("train", np.arange(10, 100))
    first, second = divide_plan(plan, labels, share=0.2, seed=3)
    assert sorted([*first.indices, *second.indices]) == list(range(10, 100))
    np.testing.assert_array_equal(np.bincount(labels[second.indices]), [8, 6, 4])
    assert list(second.indices) == sorted(second.indices)
    again, _ = divide_plan(plan, labels, share=0.2, seed=3)
    np.testing.assert_array_equal(again.indices, first.indices)
