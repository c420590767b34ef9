"""Quantisation-aware training with a run's own data and loss, for its int8 file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.config import ExportConfig, QatConfig

if TYPE_CHECKING:
    from export.conversion import FineTuned, Tail
    from mobilenas_tf.training.task import Objective


def fine_tuned_file(
    run_path: Path, data: Any, objective: Objective, config: QatConfig
) -> FineTuned:
    """Returns the function that trains on and makes the file, a progress bar shown.

    Args:
        run_path: Folder of a finished training; it stays as it is.
        data: `ClassificationData` or `DetectionData` to train on.
        objective: Of the training.
        config: How to train on.
    """
    from tqdm import tqdm

    from export.qat import convert_quantized, quantize_trained
    from mobilenas_tf.models.network_io import load_network

    def make(export_config: ExportConfig, tail: Tail | None) -> bytes:
        architecture, network = load_network(run_path)
        num_steps = config.epochs * data.steps_per_epoch
        with tqdm(total=num_steps, desc="fine-tuning", dynamic_ncols=True) as bar:

            def show(_: int, loss: float) -> None:
                bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
                bar.update()

            model = quantize_trained(
                architecture,
                network,
                data.train_epoch,
                lambda outputs, *targets: objective.loss(outputs, *targets)[0],
                config,
                steps_per_epoch=data.steps_per_epoch,
                weight_scales=export_config.weight_scales,
                progress=show,
            )
        return convert_quantized(model, export_config, tail=tail)

    return make
