"""SSDLite on a small part of COCO, from scratch and from a classifier's backbone.

A classifier is trained on small photos; one detector then starts from its backbone, the
other from random weights, both with the settings that README names for a few thousand
images. Each is evaluated as a network and as its int8 file, by `evaluate_detector`. It
shows that the way works on photos; no target is set on its mAP.

Run: python -m benchmarks.coco_subset --dataset=coco:DIR --data_dir=TFDS_DIR
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import app, flags

from benchmarks import evidence
from benchmarks.binaries import call_binary
from mobilenas_tf.reporting.terminal import format_table

_DATASET = flags.DEFINE_string("dataset", None, "`coco:DIR`.", required=True)
_BACKBONE = flags.DEFINE_string("backbone", "mobilenet_v3_small", "Of the zoo.")
_IMAGE_SIZE_PX = flags.DEFINE_integer("image_size_px", 224, "Of the detectors.")
_EPOCHS = flags.DEFINE_integer("epochs", 15, "Epochs of each detector.")
_CLASS_DATASET = flags.DEFINE_string(
    "classification_dataset", "tfds:cifar10_jpeg", "Of the classifier."
)
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Folder of TensorFlow data sets.")
_CLASS_IMAGES = flags.DEFINE_integer(
    "classification_images", 20_000, "Training images of the classifier."
)
_CLASS_SIZE_PX = flags.DEFINE_integer(
    "classification_size_px", 64, "Of the classifier: the backbone has stride 32."
)
_CLASS_EPOCHS = flags.DEFINE_integer(
    "classification_epochs", 8, "Epochs of the classifier."
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of everything.")
_WORKDIR = flags.DEFINE_string("workdir", "runs/coco_subset", "Folder of the runs.")

# README, Data: for a few thousand images.
FEW_IMAGES = ("--batch_size=8", "--learning_rate=3.2", "--warmup_epochs=1")
FEW_IMAGES += ("--focal_gamma=1", "--box_loss_weight=0.5")
METRICS = ("ap", "ap50", "ap_small", "ap_medium", "ap_large")
SETTINGS = ("backbone", "image_size_px", "epochs", "classification_dataset")
SETTINGS += ("classification_images", "classification_size_px")
SETTINGS += ("classification_epochs", "seed")


def main(_: list[str]) -> None:
    """Runs all steps and prints the table and one JSON object."""
    root = Path(_WORKDIR.value)
    seed = f"--seed={_SEED.value}"
    classifier = call_binary(
        "train_classifier",
        seed,
        f"--architecture={_BACKBONE.value}",
        f"--dataset={_CLASS_DATASET.value}",
        *([f"--data_dir={_DATA_DIR.value}"] if _DATA_DIR.value else []),
        f"--max_train_images={_CLASS_IMAGES.value}",
        f"--image_size_px={_CLASS_SIZE_PX.value}",
        f"--epochs={_CLASS_EPOCHS.value}",
        f"--workdir={root / 'classifier'}",
    )
    rows = [
        row
        for name, start in (
            ("scratch", ()),
            ("from_classifier", (f"--backbone_run={root / 'classifier'}",)),
        )
        for row in _detector(name, root / name, seed, start)
    ]
    print(format_table(list(rows[0]), rows))
    evidence.finish(
        figures={"rows": rows, "classifier_accuracy": classifier["float_accuracy"]},
        settings={name: flags.FLAGS[name].value for name in SETTINGS},
        targets=[],
    )


def _detector(
    name: str, folder: Path, seed: str, start: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Trains and exports a detector; returns what the network and the file reach."""
    data = f"--dataset={_DATASET.value}"
    trained = call_binary(
        "train_detector",
        seed,
        data,
        f"--architecture={_BACKBONE.value}",
        f"--image_size_px={_IMAGE_SIZE_PX.value}",
        "--head=ssdlite",
        *FEW_IMAGES,
        f"--epochs={_EPOCHS.value}",
        f"--workdir={folder}",
        *start,
    )
    exported = call_binary("export_tflite", f"--run={folder}")
    rows = []
    for kind, model in (("network", folder), ("int8 file", exported["model"])):
        evaluation = call_binary("evaluate_detector", data, f"--model={model}")
        rows.append(
            {
                "start": name,
                "of": kind,
                **{metric: 100 * evaluation[metric] for metric in METRICS},
                "macs": trained["macs"],
                "params": trained["params"],
                "file_bytes": exported["file_bytes"],
            }
        )
    return rows


if __name__ == "__main__":
    app.run(main)
