"""Command-line flags made from config dataclasses, and the way a binary is run.

Type, default and help of an option stand once, in its dataclass. What the options mean
is left to the dataclasses, what a binary does to its `main`.
"""

from __future__ import annotations

import dataclasses
import difflib
import errno
import functools
import importlib
import math
import os
import signal
import sys
import types
import typing
from collections.abc import Callable, Sequence
from typing import Any, Literal, NoReturn, TypeVar, Union

from absl import app, flags, logging

from mobilenas_tf.interruption import Interrupted, raise_on_signals

ConfigT = TypeVar("ConfigT")

_MAX_LETTERS = 800  # of an error's sentence

# What a user's input causes, as against a fault of ours, which keeps its stack trace.
USER_ERRORS = (
    ValueError,
    FileNotFoundError,
    FileExistsError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ConnectionError,
)

# A full disk, a quota, a disk that is only read, a name too long, links in a circle.
USER_ERROR_NUMBERS = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.ENAMETOOLONG,
    errno.ELOOP,
)
# What holds of every binary: files are whole, and searches look for what they did.
_SAVED = "what was written stays, and the same command goes on from it"

flags.disclaim_key_flags()  # so that --help shows them as flags of the binary


def define_flags(
    config_class: type[ConfigT],
    *,
    prefix: str = "",
    defaults: ConfigT | None = None,
    leave_out: Sequence[str] = (),
    flag_values: flags.FlagValues = flags.FLAGS,
) -> None:
    """Defines one flag for each field of a config dataclass.

    A field's type may be int, float, bool, str or a Literal of strings, each also
    optional (`int | None`), or `tuple[float, ...]`, given as `1,2.5`; its help is
    `metadata["help"]`. An optional number given as `--name=` is not given: so a command
    takes back what a flag file says. A field without a default becomes a flag that must
    be given. Two dataclasses that have a field in common share its flag.

    Args:
        config_class: A dataclass.
        prefix: Put before the name of every field.
        defaults: The binary's own defaults, where they differ from the dataclass's.
        leave_out: Fields that get no flag, as the binary sets them.
        flag_values: Where the flags are defined.

    Raises:
        ValueError: If a field has no help or a type that no flag has, or if a shared
            flag would have two types or two defaults.
    """
    annotations = typing.get_type_hints(config_class)
    for field in dataclasses.fields(typing.cast(Any, config_class)):
        if field.name in leave_out:
            continue
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        where = f"{config_class.__name__}.{field.name}"
        if not field.metadata.get("help"):
            raise ValueError(
                f"{where} must have a help text, metadata={{'help': ...}}. "
                f"Received: metadata={dict(field.metadata)}"
            )
        is_required = default is dataclasses.MISSING
        flag = _make_flag(
            prefix + field.name,
            annotations[field.name],
            None if is_required else default,
            field.metadata["help"],
            where,
        )
        if flag.name not in flag_values:
            flags.DEFINE_flag(flag, flag_values)
        else:
            _check_same(flag, flag_values[flag.name])
            if field.metadata["help"] not in flag_values[flag.name].help:
                flag_values[flag.name].help += f" {field.metadata['help']}"
        if is_required:
            flags.register_validator(
                flag.name,
                lambda value: value is not None,
                message="it must be given",
                flag_values=flag_values,
            )


def define_changes(
    config_class: type[Any], *, flag_values: flags.FlagValues = flags.FLAGS
) -> None:
    """Defines flags that change fields of a config that stands in a file.

    They have no defaults; `given_values` has those that were given.

    Args:
        config_class: As of `define_flags`.
        flag_values: Where the flags are defined.
    """
    annotations = typing.get_type_hints(config_class)
    for field in dataclasses.fields(config_class):
        flag = _make_flag(
            field.name,
            annotations[field.name] | None,
            None,
            f"{field.metadata['help']} By default what is recorded.",
            f"{config_class.__name__}.{field.name}",
        )
        flags.DEFINE_flag(flag, flag_values)


def given_values(
    config_class: type[Any], flag_values: flags.FlagValues = flags.FLAGS
) -> dict[str, Any]:
    """Returns the values of those fields whose flags were given, by name."""
    return {
        field.name: flag_values[field.name].value
        for field in dataclasses.fields(config_class)
        if flag_values[field.name].present and flag_values[field.name].value is not None
    }


def config_from_flags(
    config_class: type[ConfigT],
    flag_values: flags.FlagValues = flags.FLAGS,
    *,
    prefix: str = "",
    **fixed: Any,
) -> ConfigT:
    """Builds the config dataclass from the parsed flags of `define_flags`.

    Args:
        config_class: The dataclass.
        flag_values: Where the flags are defined.
        prefix: What `define_flags` was given.
        **fixed: Values of the fields that have no flag.

    Raises:
        ValueError: What the dataclass says about the values.
    """
    fields = dataclasses.fields(typing.cast(Any, config_class))
    from_flags = {
        field.name: flag_values[prefix + field.name].value
        for field in fields
        if field.name not in fixed
    }
    return config_class(**from_flags, **fixed)


def left_out(
    config_class: type[Any], flag_values: flags.FlagValues = flags.FLAGS
) -> dict[str, Any]:
    """Returns the defaults of those fields that have no flag, by name."""
    return {
        field.name: _default(field)
        for field in dataclasses.fields(typing.cast(Any, config_class))
        if field.name not in flag_values
    }


def run(main: Callable[[], None]) -> None:
    """Parses the command line, calls `main` and leaves the process.

    A mistake of the user's (`USER_ERRORS`, `USER_ERROR_NUMBERS`, a wrong flag) becomes
    one sentence on standard error and exit status 1; `--verbosity=1` keeps the stack
    trace. Ctrl-C gives exit status 130, SIGTERM 143, with a sentence that says what is
    saved.

    Args:
        main: The binary's work. It reads the flags first, so that a mistake shows at
            once, and then calls `import_tensorflow`, if it needs that.
    """
    os.environ["KERAS_BACKEND"] = "tensorflow"
    # Fatal errors only: the others come as exceptions too, or say that there is no GPU.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    app.run(lambda _: _call(main), flags_parser=parse_arguments)


def import_tensorflow() -> None:
    """Imports TensorFlow, which takes seconds, without what that prints.

    Its C++ part heeds TF_CPP_MIN_LOG_LEVEL only once it is loaded; up to then it says
    on every machine that it uses oneDNN. For `main`, after the flags are checked.
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        importlib.import_module("tensorflow")
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
    if "deterministic" in flags.FLAGS and flags.FLAGS.deterministic:
        importlib.import_module("mobilenas_tf.training.repetition").allow_order()


def _call(main: Callable[[], None]) -> None:
    if not flags.FLAGS["verbosity"].present:
        # TensorFlow writes what only its developers want at absl's INFO.
        logging.set_verbosity(logging.WARNING)
    raise_on_signals()
    try:
        main()
    except (ValueError, OSError) as error:
        if not _is_users(error) or logging.level_debug():
            raise
        _fail(_describe(error))
    except Interrupted as error:
        name = signal.Signals(error.number).name
        print(f"interrupted by {name}; {str(error) or _SAVED}", file=sys.stderr)
        sys.exit(128 + error.number)  # as shells have it


def parse_arguments(
    arguments: Sequence[str], flag_values: flags.FlagValues = flags.FLAGS
) -> None:
    """Parses a command line, its first word left aside, for `run`.

    A mistake becomes one sentence on standard error and exit status 1.

    Args:
        arguments: Of the command line.
        flag_values: Where the flags are defined.
    """
    for argument in arguments:
        if not _is_text(argument):
            _fail(f"arguments must be UTF-8 text. Received: {argument!r}")
    try:
        rest = flag_values(arguments)[1:]
    except flags.UnrecognizedFlagError as error:
        near = difflib.get_close_matches(error.flagname, list(flag_values), n=3)
        hint = f"the nearest are {', '.join('--' + name for name in near)}"
        _fail(f"unknown flag --{error.flagname}; {hint if near else 'see --help'}")
    except flags.Error as error:
        _fail(str(error).removeprefix("ERROR:: "))
    except RecursionError:  # absl looks for names like it letter by letter
        _fail("a flag must be a known name. Received: one of a thousand letters or so")
    except UnicodeDecodeError as error:
        _fail(f"a file that --flagfile names must be UTF-8 text. Received: {error}")
    if rest:
        _fail(f"arguments must be flags, --name=value. Received: {' '.join(rest)}")


def _is_text(argument: str) -> bool:
    """Returns whether an argument came as UTF-8, as all that we write of it must be."""
    return not any("\ud800" <= letter <= "\udfff" for letter in argument)


def _fail(sentence: str) -> NoReturn:
    words = " ".join(sentence.split())
    # A name may have what a terminal would take for a command.
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)
    if len(line) > _MAX_LETTERS:
        line = f"{line[:_MAX_LETTERS]}..."
    print("error:", line, file=sys.stderr)
    sys.exit(1)


def _describe(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}"
    return str(error)


def _is_users(error: Exception) -> bool:
    return (
        isinstance(error, USER_ERRORS)
        or getattr(error, "errno", None) in USER_ERROR_NUMBERS
    )


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _make_flag(
    name: str, annotation: Any, default: Any, help_text: str, where: str
) -> flags.Flag[Any]:
    """Returns the flag of one field, defined nowhere yet."""
    is_optional = typing.get_origin(annotation) in (Union, types.UnionType)
    if is_optional:
        options = set(typing.get_args(annotation)) - {type(None)}
        annotation = options.pop() if len(options) == 1 else annotation
    define_by_type: dict[Any, Callable[..., Any]] = {
        int: functools.partial(_define, _IntegerParser(is_optional)),
        float: functools.partial(_define, _NumberParser(is_optional)),
        bool: flags.DEFINE_bool,
        str: flags.DEFINE_string,
    }
    scratch = flags.FlagValues()
    choices = typing.get_args(annotation)
    if annotation in define_by_type:
        define_by_type[annotation](name, default, help_text, flag_values=scratch)
    elif annotation == tuple[float, ...]:
        flags.DEFINE(
            _NumbersParser(),
            name,
            default,
            help_text,
            flag_values=scratch,
            serializer=_NumbersSerializer(),
        )
    elif typing.get_origin(annotation) is Literal and {*map(type, choices)} == {str}:
        flags.DEFINE_enum(name, default, choices, help_text, flag_values=scratch)
    else:
        raise ValueError(
            f"{where} must be of type int, float, bool, str, a Literal of strings, an "
            f"optional one of these, or tuple[float, ...]. Received: {annotation}"
        )
    return scratch[name]


def _define(
    parser: flags.ArgumentParser[Any],
    name: str,
    default: Any,
    help_text: str,
    *,
    flag_values: flags.FlagValues,
) -> None:
    flags.DEFINE(
        parser,
        name,
        default,
        help_text,
        flag_values=flag_values,
        serializer=flags.ArgumentSerializer(),
    )


class _MaybeNumber:
    """Reads a number, and nothing as None if that is allowed."""

    def __init__(self, is_optional: bool = False):
        super().__init__()
        self.is_optional = is_optional

    def parse(self, argument: Any) -> Any:
        """Returns the value of a flag's text."""
        is_none = self.is_optional and argument == ""
        return None if is_none else super().parse(argument)  # type: ignore[misc]


class _NumberParser(_MaybeNumber, flags.FloatParser):
    """Reads `0.5`, and neither `nan` nor `inf`."""

    def convert(self, argument: Any) -> float:
        """Returns the number of a flag's text."""
        value = super().convert(argument)
        if not math.isfinite(value):
            raise ValueError("must be a finite number")
        return value


class _IntegerParser(_MaybeNumber, flags.IntegerParser):
    """Reads integers of at most 64 bits, the largest that arrays hold."""

    def convert(self, argument: Any) -> int:
        """Returns the integer of a flag's text."""
        value = super().convert(argument)
        if not -(2**63) <= value < 2**63:
            raise ValueError("must be an integer of 64 bits")
        return value


class _NumbersParser(flags.ArgumentParser[tuple[float, ...]]):
    """Reads `8e6,6e6`."""

    syntactic_help = "numbers with commas between them"

    def parse(self, argument: Any) -> tuple[float, ...]:
        """Returns the numbers of a flag's text; absl hands defaults as they are."""
        if not isinstance(argument, str):
            return tuple(argument)
        if not argument:
            return ()
        try:
            return tuple(map(_NumberParser().convert, argument.split(",")))
        except ValueError as error:
            raise ValueError(f"must be {self.syntactic_help} ({error})") from error

    def flag_type(self) -> str:
        """Returns the name of the type."""
        return "numbers"


class _NumbersSerializer(flags.ArgumentSerializer[tuple[float, ...]]):
    def serialize(self, value: tuple[float, ...]) -> str:
        """Returns the text that `_NumbersParser` reads."""
        return ",".join(map(repr, value))


def _check_same(flag: flags.Flag[Any], shared: flags.Flag[Any]) -> None:
    for what, here, there in (
        ("type", _type_name(flag), _type_name(shared)),
        ("default", flag.default, shared.default),
    ):
        if here != there:
            raise ValueError(
                f"--{flag.name} must have the same {what} in all config classes of a "
                f"binary. Received: {there!r} and {here!r}"
            )


def _type_name(flag: flags.Flag[Any]) -> str:
    choices = getattr(flag.parser, "enum_values", ())
    return " ".join([flag.flag_type(), *choices])
