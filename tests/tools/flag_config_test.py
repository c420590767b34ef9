from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any, Literal

import pytest
from absl import flags
from hypothesis import given
from hypothesis import strategies as st

from tests.damaged import NUMBERS, PROPERTY, TEXTS
from tools.flag_config import config_from_flags, define_flags


def _option(default: Any, help_text: str = "Help.") -> Any:
    return dataclasses.field(default=default, metadata={"help": help_text})


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    epochs: int = _option(3, "Passes over the data.")
    rate: float = _option(0.5)
    shuffle: bool = _option(True)
    name: str = _option("plain")
    schedule: Literal["cosine", "constant"] = _option("cosine")
    limit: int | None = _option(None)
    decay: float | None = _option(None)
    crop: Literal["pad", "zoom"] | None = _option(None)
    seed: int = _option(0, "Seed of the weights.")

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be at least 1. Received: {self.epochs}")


@dataclasses.dataclass(frozen=True)
class DataConfig:
    seed: int = _option(0, "Seed of the order.")


def _parse(
    *arguments: str, config_class: Any = TrainingConfig, **options: Any
) -> flags.FlagValues:
    flag_values = flags.FlagValues()
    define_flags(config_class, flag_values=flag_values, **options)
    flag_values(["binary", *arguments])
    return flag_values


def test_without_arguments_the_config_has_its_own_defaults() -> None:
    assert config_from_flags(TrainingConfig, _parse()) == TrainingConfig()


def test_every_type_is_read_from_the_command_line() -> None:
    flag_values = _parse(
        "--epochs=7",
        "--rate=1",
        "--noshuffle",
        "--name=1.5",
        "--schedule=constant",
        "--limit=9",
        "--decay=1e-3",
        "--crop=zoom",
        "--seed=2",
    )
    config = config_from_flags(TrainingConfig, flag_values)
    assert config == TrainingConfig(
        epochs=7,
        rate=1.0,
        shuffle=False,
        name="1.5",
        schedule="constant",
        limit=9,
        decay=1e-3,
        crop="zoom",
        seed=2,
    )
    assert isinstance(config.rate, float)


@pytest.mark.parametrize(
    "argument",
    ["--epochs=many", "--rate=fast", "--schedule=cubic", "--shuffle=perhaps"],
)
def test_a_value_of_another_type_is_refused(argument: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError):
        _parse(argument)


def test_the_dataclass_checks_the_values() -> None:
    with pytest.raises(ValueError, match="epochs must be at least 1. Received: 0"):
        config_from_flags(TrainingConfig, _parse("--epochs=0"))


def test_help_and_default_come_from_the_field() -> None:
    flag = _parse()["epochs"]
    assert flag.help == "Passes over the data."
    assert flag.default == 3


def test_a_prefix_keeps_two_uses_of_one_class_apart() -> None:
    flag_values = flags.FlagValues()
    define_flags(TrainingConfig, flag_values=flag_values)
    define_flags(TrainingConfig, prefix="retrain_", flag_values=flag_values)
    flag_values(["binary", "--epochs=4", "--retrain_epochs=5"])
    assert config_from_flags(TrainingConfig, flag_values).epochs == 4
    retraining = config_from_flags(TrainingConfig, flag_values, prefix="retrain_")
    assert retraining.epochs == 5


def test_a_binary_may_have_its_own_defaults() -> None:
    flag_values = _parse("--rate=2", defaults=TrainingConfig(epochs=99))
    config = config_from_flags(TrainingConfig, flag_values)
    assert config == TrainingConfig(epochs=99, rate=2.0)


def test_a_field_left_out_has_no_flag_and_is_set_by_the_binary() -> None:
    flag_values = _parse("--rate=2", leave_out=("epochs",))
    assert "epochs" not in flag_values
    config = config_from_flags(TrainingConfig, flag_values, epochs=8)
    assert config == TrainingConfig(epochs=8, rate=2.0)


def test_a_common_field_is_one_flag_with_both_helps() -> None:
    flag_values = flags.FlagValues()
    define_flags(TrainingConfig, flag_values=flag_values)
    define_flags(DataConfig, flag_values=flag_values)
    flag_values(["binary", "--seed=5"])
    assert config_from_flags(TrainingConfig, flag_values).seed == 5
    assert config_from_flags(DataConfig, flag_values).seed == 5
    assert flag_values["seed"].help == "Seed of the weights. Seed of the order."


@dataclasses.dataclass(frozen=True)
class OtherSeed:
    seed: int = _option(1)


@dataclasses.dataclass(frozen=True)
class FloatSeed:
    seed: float = _option(0.0)


@dataclasses.dataclass(frozen=True)
class OtherSchedule:
    schedule: Literal["cosine", "linear"] = _option("cosine")


@pytest.mark.parametrize(
    ("config_class", "words"),
    [
        (OtherSeed, "--seed must have the same default .* Received: 0 and 1"),
        (FloatSeed, "--seed must have the same type .* Received: 'int' and 'float'"),
        (OtherSchedule, "--schedule must have the same type .*constant.*linear"),
    ],
)
def test_a_common_field_that_differs_is_refused(config_class: Any, words: str) -> None:
    flag_values = _parse()
    with pytest.raises(ValueError, match=words):
        define_flags(config_class, flag_values=flag_values)


@dataclasses.dataclass(frozen=True)
class RequiredField:
    workdir: str = dataclasses.field(metadata={"help": "Where."})


def test_a_field_without_a_default_must_be_given() -> None:
    with pytest.raises(flags.IllegalFlagValueError, match="workdir.* must be given"):
        _parse(config_class=RequiredField)
    flag_values = _parse("--workdir=runs/a", config_class=RequiredField)
    assert config_from_flags(RequiredField, flag_values) == RequiredField("runs/a")


@dataclasses.dataclass(frozen=True)
class BudgetConfig:
    max_macs: tuple[float, ...] = _option((), "Budgets.")
    shares: tuple[float, ...] = _option((0.5, 1.0))
    limits: tuple[float, ...] | None = _option(None)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("8e6,6e6", (8e6, 6e6)),
        ("6e6,8e6", (6e6, 8e6)),
        ("5.7e6", (5.7e6,)),
        ("3", (3.0,)),
        ("-1, 2", (-1.0, 2.0)),
    ],
)
def test_numbers_are_given_with_commas(text: str, numbers: tuple[float, ...]) -> None:
    flag_values = _parse(f"--max_macs={text}", config_class=BudgetConfig)
    config = config_from_flags(BudgetConfig, flag_values)
    assert config == BudgetConfig(max_macs=numbers)
    assert {type(number) for number in config.max_macs} == {float}


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e999", "NaN"])
@pytest.mark.parametrize("flag", ["rate", "decay"])
def test_a_number_that_is_not_finite_is_refused(flag: str, text: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError, match="must be a finite number"):
        _parse(f"--{flag}={text}")


@pytest.mark.parametrize("value", [2**63 - 1, -(2**63)])
def test_integers_have_64_bits(value: int) -> None:
    assert config_from_flags(TrainingConfig, _parse(f"--limit={value}")).limit == value
    for beyond in (value * 2, 10**400):
        with pytest.raises(flags.IllegalFlagValueError, match="of 64 bits"):
            _parse(f"--limit={beyond}")


@PROPERTY
@given(
    st.sampled_from([field.name for field in dataclasses.fields(TrainingConfig)]),
    TEXTS | NUMBERS.map(str) | st.text(max_size=20),
)
def test_any_text_of_a_flag_is_a_value_or_refused_by_its_name(
    name: str, text: str
) -> None:
    try:
        config = config_from_flags(TrainingConfig, _parse(f"--{name}={text}"))
    except flags.IllegalFlagValueError as error:
        assert f"--{name}=" in str(error)
    except ValueError as error:
        assert str(error).startswith("epochs must be at least 1.")
    else:
        json.dumps(dataclasses.asdict(config), allow_nan=False)
        read = (text, *map(_number, (text, text.strip())), *([None] * (not text)))
        assert getattr(config, name) in read


def _number(text: str) -> Any:
    """Returns what flags make of a text that is not taken as it is."""
    words = {"true": True, "t": True, "false": False, "f": False}
    if text.lower() in words:
        return words[text.lower()]
    try:
        return float(text)
    except ValueError:
        return int(text, 0) if text.lstrip("+-")[:1].isdecimal() else text


def test_numbers_have_their_own_defaults() -> None:
    flag_values = _parse(config_class=BudgetConfig)
    assert config_from_flags(BudgetConfig, flag_values) == BudgetConfig()
    assert flag_values["max_macs"].value == ()
    defaults = BudgetConfig(max_macs=(1.0,))
    flag_values = _parse(config_class=BudgetConfig, defaults=defaults)
    assert config_from_flags(BudgetConfig, flag_values) == defaults


def test_a_command_takes_back_what_a_flag_file_says(tmp_path: Path) -> None:
    (tmp_path / "numbers").write_text("--max_macs=8e6\n--shares=1")
    said = (f"--flagfile={tmp_path / 'numbers'}", "--max_macs=", "--shares=")
    config = config_from_flags(BudgetConfig, _parse(*said, config_class=BudgetConfig))
    assert config == BudgetConfig(shares=())
    (tmp_path / "number").write_text("--limit=3\n--decay=0.5")
    said = (f"--flagfile={tmp_path / 'number'}", "--limit=", "--decay=")
    assert config_from_flags(TrainingConfig, _parse(*said)) == TrainingConfig()
    with pytest.raises(flags.IllegalFlagValueError, match="--epochs="):
        _parse("--epochs=")


def test_optional_numbers_are_read_too() -> None:
    flag_values = _parse("--limits=1,2", config_class=BudgetConfig)
    assert config_from_flags(BudgetConfig, flag_values).limits == (1.0, 2.0)


@pytest.mark.parametrize("text", ["many", "8e6,", ",8e6", "8e6,,6e6", "8e6;6e6", " "])
def test_what_are_no_numbers_is_refused_by_name(text: str) -> None:
    with pytest.raises(flags.IllegalFlagValueError) as error:
        _parse(f"--max_macs={text}", config_class=BudgetConfig)
    assert str(error.value).startswith(
        f"flag --max_macs={text}: must be numbers with commas between them (could not "
    )
    assert "\n" not in str(error.value)


def test_help_tells_that_numbers_are_wanted() -> None:
    help_text = _parse(config_class=BudgetConfig).get_help()
    lines = [line.strip() for line in help_text.splitlines()]
    start = lines.index("--max_macs: Budgets.")
    assert lines[start + 1 : start + 3] == [
        "(default: '')",
        "(numbers with commas between them)",
    ]
    assert "(default: '0.5,1.0')" in help_text


def test_numbers_written_to_a_flag_file_are_read_from_it() -> None:
    flag_values = _parse("--max_macs=8e6,6e6", config_class=BudgetConfig)
    written = flag_values.flags_into_string().splitlines()
    again = _parse(*written, config_class=BudgetConfig)
    assert config_from_flags(BudgetConfig, again).max_macs == (8e6, 6e6)


@dataclasses.dataclass(frozen=True)
class Undocumented:
    depth: int = 3


@dataclasses.dataclass(frozen=True)
class Nested:
    sizes: tuple[int, ...] = _option((1, 2))


@dataclasses.dataclass(frozen=True)
class IntegerChoice:
    bits: Literal[4, 8] = _option(8)


@pytest.mark.parametrize(
    ("config_class", "words"),
    [
        (Undocumented, "Undocumented.depth must have a help text"),
        (Nested, r"Nested.sizes must be of type int.* Received: tuple\[int, ...\]"),
        (IntegerChoice, "IntegerChoice.bits must be of type int.* Literal of strings"),
    ],
)
def test_a_field_that_cannot_be_a_flag_is_refused(
    config_class: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        define_flags(config_class, flag_values=flags.FlagValues())


BINARY = '''
"""A binary that fails as its flag says."""
import dataclasses
import errno
import os
import signal
from absl import flags
from mobilenas_tf.interruption import Interrupted
from tools.flag_config import config_from_flags, define_flags, run

@dataclasses.dataclass(frozen=True)
class Config:
    kind: str = dataclasses.field(default="none", metadata={"help": "Kind of failure."})
    max_macs: int = dataclasses.field(default=1, metadata={"help": "Budget."})

def main() -> None:
    config = config_from_flags(Config)
    if config.kind == "value":
        raise ValueError("x must be\\n  even. Received: 1")
    if config.kind == "file":
        open("absent.json")
    if config.kind == "message":
        raise FileExistsError("path must be a new folder")
    if config.kind == "disk":
        raise OSError(errno.ENOSPC, "No space left on device", "out.json")
    if config.kind == "long name":
        open("x" * 5000)
    if config.kind == "escape":
        raise ValueError("name must be text. Received: \x1b[2Jcat\x07")
    if config.kind == "key":
        raise KeyError("ours")
    if config.kind == "network":
        raise ConnectionError("the weights could not be loaded")
    if config.kind in ("SIGINT", "SIGTERM"):
        os.kill(os.getpid(), signal.Signals[config.kind])
    if config.kind == "saved":
        raise Interrupted(signal.SIGTERM, "saved after epoch 3")
    print("done", config.max_macs)

define_flags(Config)

if __name__ == "__main__":
    run(main)
'''


def _run_binary(
    tmp_path: Path, *arguments: str | bytes
) -> subprocess.CompletedProcess[str]:
    path = tmp_path / "binary.py"
    path.write_text(textwrap.dedent(BINARY))
    command = [sys.executable, "-c", f"import runpy; {_RUN}", str(path), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


# Runs the file as `python FILE` does, but with the repository on the path.
_RUN = "import sys; del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"


def test_a_binary_that_succeeds_has_status_0(tmp_path: Path) -> None:
    result = _run_binary(tmp_path, "--max_macs=5")
    assert (result.returncode, result.stdout, result.stderr) == (0, "done 5\n", "")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--kind=value"], "x must be even. Received: 1"),
        (["--kind=file"], "No such file or directory: absent.json"),
        (["--kind=message"], "path must be a new folder"),
        (["--kind=network"], "the weights could not be loaded"),
        (["--kind=disk"], "No space left on device: out.json"),
        (["--max_mac=5"], "unknown flag --max_mac; the nearest are --max_macs"),
        (["--zzzzzzzz=5"], "unknown flag --zzzzzzzz; see --help"),
        (["--max_macs=5", "x", "y"], "arguments must be flags, .*Received: x y"),
        (["--max_macs=many"], "flag --max_macs=many: .*'many'"),
        (["--kind=long name"], "File name too long: x{700,}\\.\\.\\."),
        (["--kind=escape"], r"name must be text\. Received: \\x1b\[2Jcat\\x07"),
        ([f"--max_macs={2**63}"], rf"flag --max_macs={2**63}: must be .* of 64 bits"),
        (["--max_macs=" + "9" * 5000], "flag --max_macs=9{700,}\\.\\.\\."),
        (["--" + "x" * 20_000], "a flag must be a known name. Received: one of a th.*"),
        ([b"--kind=\xff"], r"arguments must be UTF-8 text\. Received: '--kind=.udcff'"),
        (["--flagfile=absent.flags"], "Unable to open flagfile: .*'absent.flags'"),
        (["--flagfile=/"], "Unable to open flagfile: .*'/'"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_1(
    tmp_path: Path, arguments: list[str | bytes], sentence: str
) -> None:
    result = _run_binary(tmp_path, *arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert re.fullmatch(f"error: {sentence}\n", result.stderr), result.stderr


def test_a_flag_file_that_is_no_text_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "run.flags"
    path.write_bytes(b"--kind=\xff\n")
    result = _run_binary(tmp_path, f"--flagfile={path}")
    assert (result.returncode, result.stdout) == (1, "")
    words = "error: a file that --flagfile names must be UTF-8 text. Received: .*\n"
    assert re.fullmatch(words, result.stderr), result.stderr


@pytest.mark.parametrize(
    "arguments", [["--kind=key"], ["--kind=value", "--verbosity=1"]]
)
def test_our_own_mistake_keeps_its_stack_trace(
    tmp_path: Path, arguments: list[str]
) -> None:
    result = _run_binary(tmp_path, *arguments)
    assert result.returncode == 1
    assert "Traceback" in result.stderr


@pytest.mark.parametrize(
    ("kind", "status", "sentence"),
    [
        (
            "SIGINT",
            130,
            "by SIGINT; what was written stays, and the same command goes on from it",
        ),
        (
            "SIGTERM",
            143,
            "by SIGTERM; what was written stays, and the same command goes on from it",
        ),
        ("saved", 143, "by SIGTERM; saved after epoch 3"),
    ],
)
def test_an_interrupt_has_the_shells_status_and_a_sentence(
    tmp_path: Path, kind: str, status: int, sentence: str
) -> None:
    result = _run_binary(tmp_path, f"--kind={kind}")
    assert (result.returncode, result.stderr) == (status, f"interrupted {sentence}\n")


def test_help_lists_the_binarys_flags(tmp_path: Path) -> None:
    result = _run_binary(tmp_path, "--help")
    assert "A binary that fails as its flag says." in result.stdout
    assert "--max_macs: Budget." in result.stdout
    assert "(default: '1')" in result.stdout


@pytest.mark.slow
def test_importing_tensorflow_prints_nothing() -> None:
    program = (
        "import os, sys; from tools.flag_config import import_tensorflow;"
        "import_tensorflow(); assert 'tensorflow' in sys.modules;"
        "os.write(2, b'heard again')"
    )
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "heard again")
