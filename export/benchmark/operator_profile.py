"""The operator profile of `benchmark_model`: times of operators, and their table.

The runner prints it, or writes it as CSV, in the tables of `StatsCalculator`
(tsl/util/stats_calculator.cc): for the initialisation and for the runs, and in each for
the graph and for what is inside a delegate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence

from export.benchmark.result import OperatorTime

_INITIALIZATION = "Profiling Info for Benchmark Initialization:"
_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs:"
_INSIDE = "Delegate internal:"
_COLUMNS = {"node type", "avg ms", "times called", "name"}
_END = "nodes observed"
_TABLE = re.compile(r"=+ Run Order =+")


def read_profile(text: str) -> tuple[OperatorTime, ...]:
    """Returns the operators of the runs in their order, the delegate's own behind.

    Args:
        text: CSV or what the runner printed; columns are found by their headings, as
            there was one more in older runners.

    Raises:
        ValueError: If a row does not fit the headings, e.g. as the text is cut off.
    """
    runs = text.partition(_RUNS)[2]
    if not runs and _INITIALIZATION not in text:
        runs = text  # LiteRT 2 shows the runs only, without a heading
    if _TABLE.search(runs) and _END not in runs[runs.rfind(_INSIDE) + 1 :]:
        raise ValueError(
            f"the profile must be whole, up to {_END!r}. Received: {len(text)} "
            f"characters that end with {text[-40:]!r}"
        )
    graph, _, inside = runs.partition(_INSIDE)
    return tuple(
        OperatorTime(
            name=row["name"],
            kind=row["node type"],
            mean_ms=_number(row["avg ms"]),
            times_called=round(_number(row["times called"])),
            in_delegate=in_delegate,
        )
        for part, in_delegate in ((graph, False), (inside, True))
        for row in _rows(part)
    )


def _rows(text: str) -> Iterator[Mapping[str, str]]:
    """Yields the rows of all tables `Run Order`: one for each subgraph that ran."""
    for table in _TABLE.split(text)[1:]:
        # It ends with an empty line.
        heading, *lines = table.strip("\r\n").split("\n\n")[0].splitlines() or [""]
        names = _columns(heading)
        if not _COLUMNS <= set(names):
            raise ValueError(
                f"the profile must have the columns {', '.join(sorted(_COLUMNS))}. "
                f"Received: {heading!r}"
            )
        row = _row_pattern(names, "\t" if "\t" in heading else ",")
        for line in lines:
            found = row.fullmatch(line.strip())
            if found is None:
                raise ValueError(
                    f"a row of the profile must have the columns {', '.join(names)}. "
                    f"Received: {line!r}"
                )
            yield dict(zip(names, found.groups(), strict=True))


def _columns(heading: str) -> list[str]:
    separator = "\t" if "\t" in heading else ","
    names = heading.strip().split(separator)
    return [name.strip(" []").lower().replace("_", " ") for name in names]


def _row_pattern(names: Sequence[str], separator: str) -> re.Pattern[str]:
    """Returns what a row is like: numbers, but for type and name.

    Both of these may have commas: `Convolution (NHWC, QS8) IGEMM`.
    """
    texts = {"node type": "(.+?)", "name": "(.*)"}
    cells = (texts.get(name, r"([-+.\w]+)%?") for name in names)
    return re.compile(rf"\s*{separator}\s*".join(cells))


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"a time of the profile must be a number. Received: {text!r}")
    return number


def format_top_operators(operators: Sequence[OperatorTime], number: int) -> str:
    """Returns the slowest operators as an aligned text table.

    A delegate as a whole is left out where its own operators are known.
    """
    if not operators:
        return "  the runner told none"
    has_inside = any(operator.in_delegate for operator in operators)
    shown = [
        operator
        for operator in operators
        if not (has_inside and not operator.in_delegate and _is_delegate(operator))
    ]
    total_ms = sum(operator.mean_ms for operator in shown) or 1.0
    slowest = sorted(shown, key=lambda operator: -operator.mean_ms)[:number]
    return "\n".join(
        f"  {operator.mean_ms:9.3f} ms {operator.mean_ms / total_ms:6.1%}  "
        f"{operator.kind}  {operator.name}"
        for operator in slowest
    )


def _is_delegate(operator: OperatorTime) -> bool:
    return "delegate" in operator.kind.lower()
