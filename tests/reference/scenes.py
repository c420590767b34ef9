"""Slow NumPy versions of what cuts and mixing do to boxes, one box at a time."""

from __future__ import annotations

import numpy as np


def move_boxes(boxes, labels, window):
    """The boxes `[G, 4]` and labels of those whose centre a window shows, clipped."""
    y_0, x_0, y_1, x_1 = (float(edge) for edge in window)
    kept_boxes, kept_labels = [], []
    for (top, left, bottom, right), label in zip(boxes, labels, strict=True):
        if label < 0:
            continue
        center_y, center_x = (top + bottom) / 2, (left + right) / 2
        if not (y_0 <= center_y < y_1 and x_0 <= center_x < x_1):
            continue
        top, bottom = max(top, y_0), min(bottom, y_1)
        left, right = max(left, x_0), min(right, x_1)
        height, width = y_1 - y_0, x_1 - x_0
        kept_boxes.append(
            [
                (top - y_0) / height,
                (left - x_0) / width,
                (bottom - y_0) / height,
                (right - x_0) / width,
            ]
        )
        kept_labels.append(int(label))
    return np.reshape(kept_boxes, (-1, 4)), kept_labels


def jitter_colors(image, brightness, contrast, saturation, hue_degrees):
    """An image `[H, W, 3]` in [0, 255] with other colours, pixel by pixel.

    Luminance and the two colour axes of NTSC's YIQ; saturation scales the latter, hue
    turns them; contrast is about the middle grey, 127.5.
    """
    to_yiq = np.array(
        [[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]]
    )
    to_rgb = np.linalg.inv(to_yiq)
    angle = np.deg2rad(hue_degrees)
    result = np.empty_like(image, np.float64)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            y, i, q = to_yiq @ (image[row, column] - 127.5)
            turned_i = saturation * (np.cos(angle) * i - np.sin(angle) * q)
            turned_q = saturation * (np.sin(angle) * i + np.cos(angle) * q)
            color = contrast * (to_rgb @ [y, turned_i, turned_q])
            result[row, column] = np.clip(color + 127.5 + brightness, 0, 255)
    return result
