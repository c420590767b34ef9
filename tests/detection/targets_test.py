import numpy as np
import pytest
import tensorflow as tf

from detection.config import DetectionLossConfig
from detection.targets import assign_targets
from tests.reference import detection as slow

# The four quarters of the image, and its upper half.
ANCHORS = np.array(
    [
        [0.0, 0.0, 0.5, 0.5],
        [0.0, 0.5, 0.5, 1.0],
        [0.5, 0.0, 1.0, 0.5],
        [0.5, 0.5, 1.0, 1.0],
        [0.0, 0.0, 0.5, 1.0],
    ],
    "float32",
)
CONFIG = DetectionLossConfig()


def targets(*images, num_places=3):
    """Of (box, label, is_ignored) triples, one list an image."""
    boxes = np.zeros((len(images), num_places, 4), "float32")
    labels = np.full((len(images), num_places), -1, "int32")
    is_ignored = np.zeros((len(images), num_places), bool)
    for image, triples in enumerate(images):
        for place, triple in enumerate(triples):
            boxes[image, place], labels[image, place], is_ignored[image, place] = triple
    return {
        "boxes_normalized": tf.constant(boxes),
        "labels": tf.constant(labels),
        "is_ignored": tf.constant(is_ignored),
    }


def test_targets_of_hand_written_boxes():
    first = [((0.0, 0.0, 0.5, 0.5), 7, False), ((0.5, 0.5, 1.0, 0.9), 0, False)]
    second = [((0.0, 0.0, 0.4, 1.0), 2, False)]
    assigned = assign_targets(targets(first, second), ANCHORS, config=CONFIG)
    # Anchor 4 has IoU 1/2 with the first box, anchor 3 has 4/5 with the second; in the
    # second image anchor 4 has 4/5, and the quarters 0.2 / 0.45.
    np.testing.assert_array_equal(
        assigned.classes, [[7, -1, -1, 0, 7], [-1, -1, -1, -1, 2]]
    )
    np.testing.assert_array_equal(
        assigned.box_weights, [[1, 0, 0, 1, 1], [0, 0, 0, 0, 1]]
    )
    np.testing.assert_array_equal(assigned.class_weights, np.ones((2, 5)))
    np.testing.assert_array_equal(assigned.num_matches, [3, 1])
    encodings = np.zeros((2, 5, 4))
    # The second box lies 0.05 left of its anchor's centre, 4/5 as wide.
    encodings[0, 3] = [0.0, 10 * -0.05 / 0.5, 0.0, 5 * np.log(0.8)]
    # The first lies 0.25 left of the upper half's centre, half as wide.
    encodings[0, 4] = [0.0, 10 * -0.25 / 1.0, 0.0, 5 * np.log(0.5)]
    # 0.05 above, 4/5 as high.
    encodings[1, 4] = [10 * -0.05 / 0.5, 0.0, 5 * np.log(0.8), 0.0]
    np.testing.assert_allclose(assigned.encodings, encodings, atol=1e-5)


def test_an_ignored_box_leaves_out_the_anchors_that_it_covers():
    crowd = ((0.0, 0.0, 0.5, 0.8), 1, True)
    assigned = assign_targets(targets([crowd]), ANCHORS, config=CONFIG)
    # It covers 1, 0.3 / 0.5, 0, 0 and 0.8 of the anchors.
    np.testing.assert_array_equal(assigned.class_weights, [[0, 0, 1, 1, 0]])
    np.testing.assert_array_equal(assigned.classes, np.full((1, 5), -1))
    np.testing.assert_array_equal(assigned.num_matches, [0])


def test_an_anchor_covered_by_half_is_left_out_and_by_less_is_not():
    half, less = ((0.0, 0.0, 0.25, 1.0), -1, True), ((0.0, 0.0, 0.24, 1.0), -1, True)
    assigned = assign_targets(targets([half], [less]), ANCHORS, config=CONFIG)
    np.testing.assert_array_equal(
        assigned.class_weights, [[0, 0, 1, 1, 0], [1, 1, 1, 1, 1]]
    )


def test_an_object_in_an_ignored_box_counts():
    image = [((0.0, 0.0, 1.0, 1.0), 4, True), ((0.0, 0.0, 0.5, 0.5), 3, False)]
    assigned = assign_targets(targets(image), ANCHORS, config=CONFIG)
    np.testing.assert_array_equal(assigned.classes, [[3, -1, -1, -1, 3]])
    np.testing.assert_array_equal(assigned.class_weights, [[1, 0, 0, 0, 1]])


def test_between_the_thresholds_an_anchor_counts_for_nothing():
    config = DetectionLossConfig(positive_iou=0.7, negative_iou=0.4)
    image = [((0.0, 0.0, 0.5, 0.5), 3, False)]
    assigned = assign_targets(targets(image), ANCHORS, config=config)
    # Anchor 4 has IoU 1/2.
    np.testing.assert_array_equal(assigned.classes, [[3, -1, -1, -1, -1]])
    np.testing.assert_array_equal(assigned.class_weights, [[1, 1, 1, 1, 0]])
    np.testing.assert_array_equal(assigned.box_weights, [[1, 0, 0, 0, 0]])


def test_a_box_of_no_area_is_matched_to_nothing():
    image = [((0.2, 0.2, 0.2, 0.4), 3, False)]
    assigned = assign_targets(targets(image), ANCHORS, config=CONFIG)
    np.testing.assert_array_equal(assigned.num_matches, [0])
    assert np.all(np.isfinite(assigned.encodings))


def random_targets(rng, num_images, num_places):
    low = rng.uniform(0.0, 0.7, (num_images, num_places, 2))
    sizes = rng.uniform(0.1, 0.3, low.shape)
    boxes = np.concatenate([low, low + sizes], axis=-1)
    labels = rng.integers(-1, 5, (num_images, num_places))
    return {
        "boxes_normalized": tf.constant(boxes, tf.float32),
        "labels": tf.constant(labels, tf.int32),
        "is_ignored": tf.constant((labels >= 0) & (rng.random(labels.shape) < 0.3)),
    }


def test_assignment_is_that_of_the_slow_version():
    rng = np.random.default_rng(3)
    batch = random_targets(rng, num_images=6, num_places=7)
    low = rng.uniform(-0.1, 0.8, (40, 2))
    anchors = np.concatenate([low, low + rng.uniform(0.1, 0.4, (40, 2))], axis=-1)
    anchors = anchors.astype("float32")
    config = DetectionLossConfig(positive_iou=0.45, negative_iou=0.3)
    assigned = assign_targets(batch, anchors, config=config)
    num_left_out = 0
    for image in range(6):
        boxes, labels, is_ignored = (
            batch[name][image].numpy()
            for name in ("boxes_normalized", "labels", "is_ignored")
        )
        overlaps = slow.all_pairs(slow.iou, anchors, boxes)
        is_box = (labels >= 0) & ~is_ignored
        matches = slow.match(overlaps, is_box, 0.45, 0.3, True)
        covered = slow.all_pairs(slow.coverage, anchors, boxes)[:, is_ignored]
        for index, box in enumerate(matches):
            where = image, index
            assert assigned.classes[where] == (labels[box] if box >= 0 else -1)
            is_covered = covered[index].size and covered[index].max() >= 0.5
            counts = box >= 0 or (box == -1 and not is_covered)
            num_left_out += not counts
            assert assigned.class_weights[where] == float(counts)
            assert assigned.box_weights[where] == float(box >= 0)
            encoding = slow.encode(boxes[box], anchors[index]) if box >= 0 else [0] * 4
            np.testing.assert_allclose(assigned.encodings[where], encoding, atol=1e-4)
        assert assigned.num_matches[image] == sum(box >= 0 for box in matches)
    assert num_left_out > 10


def test_a_graph_assigns_as_eager_code_does_with_static_shapes():
    batch = random_targets(np.random.default_rng(4), num_images=3, num_places=6)

    @tf.function
    def assign(batch):
        assigned = assign_targets(batch, ANCHORS, config=CONFIG)
        assert assigned.classes.shape == (3, 5)
        assert assigned.encodings.shape == (3, 5, 4)
        assert assigned.class_weights.shape == (3, 5)
        assert assigned.num_matches.shape == (3,)
        return assigned

    expected = assign_targets(batch, ANCHORS, config=CONFIG)
    for value, eager in zip(assign(batch), expected, strict=True):
        np.testing.assert_allclose(value, eager, atol=1e-5)


def test_a_graph_takes_batches_of_any_size():
    shapes = targets([])

    @tf.function(
        input_signature=[
            {
                name: tf.TensorSpec([None, *value.shape[1:]], value.dtype)
                for name, value in shapes.items()
            }
        ]
    )
    def assign(batch):
        return assign_targets(batch, ANCHORS, config=CONFIG)

    image = [((0.0, 0.0, 0.5, 0.5), 3, False)]
    for num_images in (0, 1, 4):
        assigned = assign(targets(*[image] * num_images))
        np.testing.assert_array_equal(
            assigned.classes, np.array([[3, -1, -1, -1, 3]] * num_images).reshape(-1, 5)
        )


def test_targets_of_another_shape_are_refused():
    batch = targets([])
    batch["labels"] = batch["labels"][:, :2]
    with pytest.raises(ValueError, match=r"labels must have the shape \(None, 3\)"):
        assign_targets(batch, ANCHORS, config=CONFIG)


def test_room_for_more_boxes_changes_nothing():
    rng = np.random.default_rng(0)
    anchors = _random_boxes(rng, 60)
    boxes = np.zeros((3, 4, 4), np.float32)
    labels = np.full((3, 4), -1, np.int32)
    for image, count in enumerate((4, 0, 2)):
        boxes[image, :count] = _random_boxes(rng, count)
        labels[image, :count] = rng.integers(0, 5, count)
    ignored = np.zeros((3, 4), bool)
    ignored[2, 1], labels[2, 1] = True, -1  # an ignored box needs no label

    def assigned(room):
        wide = {
            "boxes_normalized": np.pad(boxes, ((0, 0), (0, room), (0, 0))),
            "labels": np.pad(labels, ((0, 0), (0, room)), constant_values=-1),
            "is_ignored": np.pad(ignored, ((0, 0), (0, room))),
        }
        tensors = {name: tf.constant(x) for name, x in wide.items()}
        function = tf.function(assign_targets, reduce_retracing=True)
        return function(tensors, anchors, config=DetectionLossConfig())

    for few, many in zip(assigned(0), assigned(30), strict=True):
        np.testing.assert_array_equal(few, many)
    assert np.any(assigned(0).classes >= 0) and np.any(assigned(0).class_weights == 0)


def _random_boxes(rng, count):
    starts = rng.uniform(0, 0.6, (count, 2))
    return np.concatenate([starts, starts + rng.uniform(0.1, 0.4, (count, 2))], 1)
