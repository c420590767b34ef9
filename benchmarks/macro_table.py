"""NAS-Bench-Macro's table: 3,969 distinct networks with trained accuracies.

Source: Su et al., Prioritized architecture sampling with Monto-Carlo tree search,
arXiv:2103.11922; xiusu/NAS-Bench-Macro, Apache-2.0. `mean_acc` is of three seeds, on
CIFAR-10.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import scipy.stats
from absl import flags

from mobilenas_tf.json_io import read_json
from mobilenas_tf.one_shot_space import IDENTITY, OneShotSpace
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.spec import Architecture

_TABLE = flags.DEFINE_string("table", None, "JSON file of the table.", required=True)

NUM_CLASSES = 10
_NAMES = (IDENTITY, "k3_e3", "k5_e6")  # by digit of a key


@dataclasses.dataclass(frozen=True)
class TableEntry:
    """One network of the table; accuracy in percent."""

    genotype: Mapping[str, str]
    accuracy: float
    macs: int
    params: int

    @property
    def layers(self) -> int:
        """Blocks that are no identity."""
        return sum(operation != IDENTITY for operation in self.genotype.values())


Table = dict[Architecture, TableEntry]


def the_table() -> Table:
    """Returns the table that `--table` names; see `read_table`."""
    return read_table(_TABLE.value)


def macro_space() -> OneShotSpace:
    """Returns the table's space."""
    return named_one_shot_space("nas_bench_macro", num_classes=NUM_CLASSES)


def read_table(path: str) -> Table:
    """Returns the distinct networks; of keys that give the same one, the mean.

    Raises:
        FileNotFoundError: If the file is not there.
    """
    space = macro_space()
    paths = [decision.path for decision in space.decisions]
    groups: dict[Architecture, list[TableEntry]] = {}
    for key, row in read_json(Path(path)).items():
        names = (_NAMES[int(digit)] for digit in key)
        genotype = dict(zip(paths, names, strict=True))
        entry = TableEntry(genotype, row["mean_acc"], row["flops"], row["params"])
        groups.setdefault(space.resolve(genotype), []).append(entry)
    return {
        network: dataclasses.replace(
            entries[0], accuracy=float(np.mean([each.accuracy for each in entries]))
        )
        for network, entries in groups.items()
    }


def banded(
    entries: list[TableEntry], *, width: float, per_band: int, seed: int
) -> list[list[TableEntry]]:
    """Returns networks by band of multiply-adds, so many of each, full bands only."""
    rng = np.random.default_rng(seed)
    bands: dict[int, list[TableEntry]] = {}
    for entry in entries:
        bands.setdefault(int(entry.macs // width), []).append(entry)
    return [
        [band[int(i)] for i in rng.choice(len(band), per_band, replace=False)]
        for _, band in sorted(bands.items())
        if len(band) >= per_band
    ]


def mean_tau(bands: list[list[TableEntry]], scores: dict[int, float]) -> float:
    """Returns the mean over the bands of Kendall's tau of scores and accuracies.

    Args:
        bands: Of networks.
        scores: By `id` of an entry.
    """
    taus = [
        float(
            np.asarray(
                scipy.stats.kendalltau(
                    [scores[id(entry)] for entry in band],
                    [entry.accuracy for entry in band],
                )
            )[0]
        )
        for band in bands
    ]
    # A score that is the same for a whole band tells nothing: a tau of 0.
    return float(np.mean(np.nan_to_num(taus)))
