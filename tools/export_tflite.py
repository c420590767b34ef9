"""Exports a trained run to .tflite and compares the two on the test images.

Example:
  python -m tools.export_tflite --run=runs/train --dataset=digits --quantization=int8
"""

from __future__ import annotations

from pathlib import Path

from absl import flags

from export.config import ExportConfig
from mobilenas_tf.training.config import AugmentationConfig, DataConfig
from tools import flag_config, run_flags


def main() -> None:
    """Exports what the flags describe."""
    run_path = Path(flags.FLAGS.run)
    config = flag_config.config_from_flags(ExportConfig)

    flag_config.import_tensorflow()
    from export.bundle import export_run
    from mobilenas_tf.architecture_source import open_architecture
    from mobilenas_tf.reporting.page import write_report
    from mobilenas_tf.training.data import load_classification_data
    from mobilenas_tf.training.results import update_summary

    data = load_classification_data(
        flag_config.config_from_flags(
            DataConfig, image_size_px=open_architecture(run_path).image_size_px
        ),
        AugmentationConfig(),
    )
    exported = export_run(
        run_path,
        data,
        config,
        command=run_flags.command(),
        max_parity_images=flags.FLAGS.max_parity_images,
    )
    parity = exported.parity
    if config.quantization == "int8":
        update_summary(
            run_path,
            int8_accuracy=parity.tflite_accuracy,
            file_bytes=exported.num_bytes,
        )
    write_report(run_path)
    run_flags.finish(
        {"model": str(exported.path), "file_bytes": exported.num_bytes}
        | parity.to_json(),
        f"Accuracy {parity.keras_accuracy:.2%} in Keras, "
        f"{parity.tflite_accuracy:.2%} exported, {parity.top1_agreement:.2%} equal "
        f"answers on {parity.num_images:,} images: {exported.path} "
        f"({exported.num_bytes / 1e3:.0f} kB)",
    )


flags.DEFINE_string("run", None, "Folder of a finished training.", required=True)
flags.DEFINE_integer(
    "max_parity_images", None, "Test images for the comparison; by default all."
)
flag_config.define_flags(ExportConfig)
flag_config.define_flags(DataConfig, leave_out=("image_size_px",))
run_flags.define_json()

if __name__ == "__main__":
    flag_config.run(main)
