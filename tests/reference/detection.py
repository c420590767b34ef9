"""Slow NumPy versions of the numeric parts of a detector, written from the papers.

In float64, one box, anchor or class at a time. Boxes are corners `[y_min, x_min, y_max,
x_max]`.
"""

from __future__ import annotations

import math

import numpy as np


def area(box) -> float:
    return max(box[2] - box[0], 0.0) * max(box[3] - box[1], 0.0)


def intersection(box, other) -> float:
    corners = [max(box[0], other[0]), max(box[1], other[1])]
    return area(corners + [min(box[2], other[2]), min(box[3], other[3])])


def iou(box, other) -> float:
    shared = intersection(box, other)
    union = area(box) + area(other) - shared
    return shared / union if union > 0 else 0.0


def coverage(box, other) -> float:
    return intersection(box, other) / area(box) if area(box) > 0 else 0.0


def all_pairs(function, boxes, others) -> np.ndarray:
    """`[M, N]`: `function` of each box and each other box."""
    boxes, others = np.asarray(boxes, np.float64), np.asarray(others, np.float64)
    return np.array([[function(box, other) for other in others] for box in boxes])


def match(
    overlaps: np.ndarray,
    is_box: np.ndarray,
    positive_iou: float,
    negative_iou: float,
    force_match: bool,
) -> list[int]:
    """Index of each anchor's box, -1 background, -2 neither; `overlaps` is `[A, G]`."""
    matches = []
    for row in overlaps:
        best, best_box = -1.0, None
        for box, overlap in enumerate(row):
            if is_box[box] and overlap > best:
                best, best_box = overlap, box
        if best_box is not None and best >= positive_iou:
            matches.append(best_box)
        else:
            matches.append(-1 if best < negative_iou else -2)
    left = np.where(is_box, overlaps, 0.0)
    while force_match and left.max() > 0:
        anchor, box = np.unravel_index(left.argmax(), left.shape)
        matches[anchor] = int(box)
        left[anchor, :] = 0
        left[:, box] = 0
    return matches


def encode(box, anchor) -> list[float]:
    """Faster R-CNN, arXiv:1506.01497, equation 2, times 10, 10, 5, 5."""
    height, width = anchor[2] - anchor[0], anchor[3] - anchor[1]
    return [
        10 * ((box[0] + box[2]) - (anchor[0] + anchor[2])) / 2 / height,
        10 * ((box[1] + box[3]) - (anchor[1] + anchor[3])) / 2 / width,
        5 * math.log((box[2] - box[0]) / height),
        5 * math.log((box[3] - box[1]) / width),
    ]


def decode(encoding, anchor) -> list[float]:
    height, width = anchor[2] - anchor[0], anchor[3] - anchor[1]
    y = (anchor[0] + anchor[2]) / 2 + encoding[0] / 10 * height
    x = (anchor[1] + anchor[3]) / 2 + encoding[1] / 10 * width
    half_height = height * math.exp(encoding[2] / 5) / 2
    half_width = width * math.exp(encoding[3] / 5) / 2
    return [y - half_height, x - half_width, y + half_height, x + half_width]


def sigmoid(x: float) -> float:
    return 1.0 / (1.0 + math.exp(-x))


def softmax(logits) -> np.ndarray:
    exponentials = np.exp(logits - np.max(logits))
    return exponentials / exponentials.sum()


def focal_loss(logit: float, label: int, alpha: float, gamma: float) -> float:
    """Focal loss, arXiv:1708.02002, equation 5."""
    p = sigmoid(logit)
    p_t, alpha_t = (p, alpha) if label == 1 else (1 - p, 1 - alpha)
    return -alpha_t * (1 - p_t) ** gamma * math.log(p_t)


def smooth_l1(error: float) -> float:
    return 0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5


def suppress(boxes, scores, score_threshold: float, iou_threshold: float) -> list[int]:
    """Indices of the boxes that stand, highest score first."""
    standing = []
    for index in sorted(range(len(boxes)), key=lambda index: -scores[index]):
        is_new = all(iou(boxes[index], boxes[i]) <= iou_threshold for i in standing)
        if scores[index] > score_threshold and is_new:
            standing.append(index)
    return standing


def select_detections(
    boxes,
    scores,
    *,
    score_threshold: float,
    iou_threshold: float,
    max_detections: int,
    is_class_agnostic: bool = False,
) -> list[tuple[float, int, int]]:
    """(score, anchor, class) of one image's detections, highest score first."""
    found = []
    if is_class_agnostic:
        best = scores.max(axis=1)
        for anchor in suppress(boxes, best, score_threshold, iou_threshold):
            found.append((best[anchor], anchor, int(scores[anchor].argmax())))
    else:
        for label in range(scores.shape[1]):
            of_class = scores[:, label]
            for anchor in suppress(boxes, of_class, score_threshold, iou_threshold):
                found.append((of_class[anchor], anchor, label))
    return sorted(found, key=lambda detection: -detection[0])[:max_detections]
