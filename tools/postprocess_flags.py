"""Flags of which predictions are detections, where a run or a file has an answer."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from absl import flags

from detection.config import PostprocessConfig
from export.bundle_facts import DECODING_FILE
from mobilenas_tf.json_io import from_plain, read_object
from tools import flag_config
from tools.recorded import trained_with

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


def define_postprocess() -> None:
    """Defines the flags; those that are not given leave what is recorded."""
    flag_config.define_changes(PostprocessConfig)


def postprocess_of_run(run_path: Path) -> PostprocessConfig:
    """Returns what a run was evaluated with, changed by the flags."""
    return _changed(trained_with(run_path, "postprocess", PostprocessConfig()))


def postprocess_of_file(model: Path) -> PostprocessConfig:
    """Returns what stands beside a file of encoded boxes, changed by the flags."""
    path = model.parent / DECODING_FILE
    if not path.exists():
        return _changed(PostprocessConfig())
    document = read_object(path)
    names = {field.name for field in dataclasses.fields(PostprocessConfig)}
    recorded = {name: document[name] for name in document if name in names}
    return _changed(from_plain(PostprocessConfig, recorded, str(path)))


def check_none_given(reason: str) -> None:
    """Raises a ValueError if one of the flags is given, where none is of use.

    Args:
        reason: Why there is no use, after "must be left out".
    """
    for name, value in flag_config.given_values(PostprocessConfig).items():
        raise ValueError(f"{name} must be left out {reason}. Received: {name}={value}")


def _changed(recorded: PostprocessConfig) -> PostprocessConfig:
    return dataclasses.replace(recorded, **flag_config.given_values(PostprocessConfig))
