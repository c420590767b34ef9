"""Runs of `benchmark_model` on a prepared phone, and what they tell of a file."""

from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

from export.benchmark import adb
from export.benchmark.android import RunFolder
from export.benchmark.delegation import Delegation, read_runner_delegation
from export.benchmark.operator_profile import read_profile
from export.benchmark.result import OperatorTime
from export.benchmark.runner import (
    INFO_FILE,
    NAMES,
    PROFILE_FILE,
    Binary,
    Runner,
    inspection_arguments,
    recognize_runner,
    timing_arguments,
)
from export.benchmark.runner_output import (
    RunFigures,
    describe_failure,
    read_result,
    read_text,
)
from export.config import BenchmarkConfig, DeviceConfig

_BINARY = "benchmark_model"
_ASKED = {"cpu": "XNNPACK", "gpu": "GPU"}
_SECONDS_TO_LOAD = 120.0  # a GPU delegate compiles its kernels


@dataclasses.dataclass(frozen=True)
class Model:
    """A file, and its name on the phone: ours, as its shell would read a user's."""

    path: str
    content: bytes
    name: str


@dataclasses.dataclass(frozen=True)
class Session:
    """A phone whose run folder holds the runner; then the models as well."""

    device: adb.AdbDevice
    folder: RunFolder
    runner: Runner
    core_mask: str | None
    config: BenchmarkConfig
    device_config: DeviceConfig


@dataclasses.dataclass(frozen=True)
class Inspection:
    """What one run beside the timed ones tells of a model."""

    delegation: Delegation
    operators: tuple[OperatorTime, ...]


def copy_runner(device: adb.AdbDevice, folder: str, binary: Binary) -> Runner:
    """Copies the runner to a folder on the phone and returns which one it is.

    Raises:
        ValueError: If it is neither runner, or if there is no room for it.
        ConnectionError: If the phone is gone.
    """
    adb.push(device, binary.path, f"{folder}/{_BINARY}")
    command = f"cd {folder} && chmod 755 {_BINARY} && ./{_BINARY} --help"
    return recognize_runner(adb.shell(device, command).output)


def copy_model(session: Session, model: Model) -> None:
    """Copies a model to the run folder.

    Raises:
        ValueError: If there is no room for it.
        ConnectionError: If the phone is gone.
    """
    adb.push(session.device, Path(model.path), f"{session.folder.path}/{model.name}")


def inspect(session: Session, model: Model) -> Inspection:
    """Runs a model once to see whether the runner takes it, and what runs where.

    Raises:
        ValueError: If the runner refuses the model.
        ConnectionError: If the phone is gone.
    """
    arguments = inspection_arguments(
        session.runner,
        session.config,
        session.device_config,
        model=model.name,
        result="inspection.pb",
    )
    answer = _run(session, arguments, before=f"rm -f {INFO_FILE} {PROFILE_FILE}")
    if answer.status != 0:
        raise _refusal(session, model, answer)
    info = _pull_if(session, INFO_FILE, "model_runtime_info_output_file")
    asked = _ASKED[session.device_config.accelerator]
    try:
        delegation = read_runner_delegation(answer.output, info, asked=asked)
    except ValueError:  # the info is cut off; the text may tell
        delegation = read_runner_delegation(answer.output, None, asked=asked)
    operators = ()
    if session.device_config.operator_profile:
        file = _pull_if(session, PROFILE_FILE, "enable_op_profiling")
        text = answer.output if file is None else file.decode(errors="replace")
        try:
            operators = read_profile(text)
        except ValueError as error:
            raise ValueError(
                f"{model.path} must get a whole operator profile from the runner; "
                f"--nooperator_profile leaves it out. Received: {error}"
            ) from error
    return Inspection(delegation, operators)


def time_once(
    session: Session, model: Model, result: str
) -> tuple[RunFigures, tuple[str, ...]]:
    """Returns the figures of one repeat of a model, and the arguments of its run.

    Reads the result proto if there is a whole one, and else the text.

    Args:
        session: The prepared phone.
        model: Which model.
        result: Name for the result proto, not used before.

    Raises:
        ValueError: If the runner fails or tells no figures.
        ConnectionError: If the phone is gone.
    """
    arguments = timing_arguments(
        session.runner,
        session.config,
        session.device_config,
        model=model.name,
        result=result,
    )
    answer = _run(session, arguments)
    if answer.status not in (0, None):
        raise _refusal(session, model, answer)
    proto = _pull_if(session, result, "result_file_path")
    reasons = []
    if proto is not None:
        try:
            return read_result(proto), arguments
        except ValueError as error:
            reasons.append(f"result file: {error}")
    if answer.status is None:  # a number may be cut off in its middle
        raise _refusal(session, model, answer)
    try:
        return read_text(answer.output), arguments
    except ValueError as error:
        reasons.append(f"output: {error}")
        raise ValueError(
            f"{model.path}: the runner must tell its figures in its result file or its "
            f"output. Received: {'; '.join(reasons)}"
        ) from error


def _run(
    session: Session, arguments: tuple[str, ...], *, before: str = "true"
) -> adb.Answer:
    keep = f"taskset {session.core_mask} " if session.core_mask else ""
    program = f"{keep}./{_BINARY} {shlex.join(arguments)}"
    return adb.shell(
        session.device,
        f"cd {session.folder.path} && {before} && {program}",
        # The limit holds for the warm-up and for the timed runs.
        timeout_seconds=2 * session.device_config.run_limit_seconds + _SECONDS_TO_LOAD,
    )


def _pull_if(session: Session, name: str, flag: str) -> bytes | None:
    if flag not in session.runner.flags:
        return None
    return adb.pull(session.device, f"{session.folder.path}/{name}")


def _refusal(session: Session, model: Model, answer: adb.Answer) -> ValueError:
    what = describe_failure(answer.status, answer.output)
    return ValueError(
        f"{model.path} must be a file that {NAMES[session.runner.kind]} runs with "
        f"accelerator={session.device_config.accelerator}. Received: {what}"
    )
