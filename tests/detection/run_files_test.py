"""What an evaluation leaves in a folder, of photos as phones take them."""

import numpy as np
from PIL import Image

from detection.coco_eval import evaluate_detections
from detection.config import DetectionDataConfig, SceneAugmentationConfig
from detection.data import load_detection_data
from detection.run_files import write_evaluation
from mobilenas_tf.training import photos
from tests.detection.coco_folder import box_row, image_row, write_split


def test_a_photo_too_large_to_be_decoded_at_its_own_size_is_drawn(
    tmp_path, monkeypatch
):
    rows = [
        image_row(i, height=2000, width=2600) | {"file_name": f"{i}.jpg"}
        for i in range(1, 4)
    ]
    boxes = [box_row(row["id"], [200, 150, 1000, 600]) for row in rows]
    write_split(tmp_path, "train2017", rows, boxes)
    write_split(tmp_path, "val2017", rows[:1], boxes[:1])
    # They have 5.2 million pixels, at half their height and width 1.3 million.
    monkeypatch.setattr(photos, "MAX_DECODED_PIXELS", 2**21)
    data = load_detection_data(
        DetectionDataConfig(
            dataset=f"coco:{tmp_path}",
            image_size_px=32,
            batch_size=2,
            validation_fraction=0.3,
        ),
        SceneAugmentationConfig(),
    )
    found = {"image_id": 1, "category_id": 18, "bbox": [200, 150, 1000, 600]}
    results = [found | {"score": 0.9}]
    evaluation = evaluate_detections(data.ground_truth("test"), results)

    write_evaluation(tmp_path / "out", evaluation, results, data)

    with Image.open(tmp_path / "out" / "contact_sheet.jpg") as sheet:
        pixels = np.asarray(sheet)
    # One grey photo of 480 x 369 px; boxes and their labels hide some of it.
    is_grey = np.all(np.abs(pixels.astype(int) - 100) < 4, axis=2)
    num_rows, num_columns = (
        np.count_nonzero(np.count_nonzero(is_grey, axis=axis) > 100) for axis in (1, 0)
    )
    assert 360 <= num_rows <= 369 and 470 <= num_columns <= 480
