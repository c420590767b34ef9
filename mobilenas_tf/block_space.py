"""Search spaces of operators: at every place of a network one block out of several.

A place has a stable path (`stage3/block1`), a genotype maps paths to the index of a
candidate. Outputs have fixed channels, so that a network's cost is the sum of its
candidates' costs. Which spaces exist is left to `block_spaces`, spaces of channel
counts to `space`.

Source: Wu et al., FBNet, arXiv:1812.03443, section 3.1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from mobilenas_tf.spec import (
    Architecture,
    Block,
    Convolution,
    Head,
    Pooling,
    Stage,
    output_size_px,
)

BlockGenotype = dict[str, int]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """One operator that may stand at a place; without a block it is the identity."""

    name: str
    block: Block | None


@dataclasses.dataclass(frozen=True)
class Place:
    """Where one of several candidates stands, and what comes in there."""

    path: str
    in_channels: int
    in_size_px: int
    candidates: tuple[Candidate, ...]


@dataclasses.dataclass(frozen=True)
class BlockSpace:
    """Stem and head of all its networks, and the candidates between them by stage."""

    name: str
    image_size_px: int
    stem: Convolution
    stages: tuple[tuple[tuple[Candidate, ...], ...], ...]
    head: Head

    def __post_init__(self) -> None:
        for place in self.places:
            names = [candidate.name for candidate in place.candidates]
            if not names or len(set(names)) < len(names):
                raise ValueError(
                    f"candidates of {place.path} must have distinct names, at least "
                    f"one. Received: {names}"
                )
            ends = {_end(place, candidate) for candidate in place.candidates}
            if len(ends) > 1:
                raise ValueError(
                    f"candidates of {place.path} must put out maps of one shape. "
                    f"Received: (channels, pixels) of {sorted(ends)}"
                )

    @property
    def places(self) -> tuple[Place, ...]:
        """The places in order of use."""
        channels = self.stem.out_channels
        size_px = output_size_px(self.stem, self.image_size_px)
        places = []
        for number, stage in enumerate(self.stages, start=1):
            for index, candidates in enumerate(stage):
                path = f"stage{number}/block{index}"
                place = Place(path, channels, size_px, candidates)
                places.append(place)
                channels, size_px = _end(place, candidates[0])
        return tuple(places)

    @property
    def features(self) -> tuple[int, int]:
        """Channels and pixels of the map that the head works on."""
        last = self.places[-1]
        return _end(last, last.candidates[0])

    def resolve(self, genotype: Mapping[str, int], *, name: str = "") -> Architecture:
        """Returns the network of a genotype.

        Raises:
            ValueError: If a place is missing or unknown, or has no such candidate.
        """
        self.check(genotype)
        stages = []
        for number, stage in enumerate(self.stages, start=1):
            chosen = [
                candidates[genotype[f"stage{number}/block{index}"]].block
                for index, candidates in enumerate(stage)
            ]
            stages.append(Stage(tuple(b for b in chosen if b is not None)))
        return Architecture(
            name=name or f"{self.name}_found",
            image_size_px=self.image_size_px,
            stem=self.stem,
            stages=tuple(stages),
            head=self.head,
        )

    def check(self, genotype: Mapping[str, int]) -> None:
        """Raises a ValueError unless the genotype is one of this space's."""
        places = {place.path: place for place in self.places}
        if wrong := sorted(places.keys() ^ genotype.keys()):
            raise ValueError(
                f"genotype must have exactly the places of {self.name}. "
                f"Received: {wrong[0]!r} missing or unknown"
            )
        for path, index in genotype.items():
            count = len(places[path].candidates)
            if not 0 <= index < count:
                raise ValueError(
                    f"{path} must be from 0 to {count - 1}. Received: {index}"
                )

    def path_in_network(self, genotype: Mapping[str, int]) -> dict[str, str]:
        """Returns where the block of each place stands in the resolved network.

        Identities are not there, so that what is behind them in a stage moves up.
        """
        paths = {}
        for number, stage in enumerate(self.stages, start=1):
            position = 0
            for index, candidates in enumerate(stage):
                place = f"stage{number}/block{index}"
                if candidates[genotype[place]].block is not None:
                    paths[place] = f"stage{number}/block{position}"
                    position += 1
        return paths

    def sample(self, rng: np.random.Generator) -> BlockGenotype:
        """Returns a genotype with every candidate equally likely."""
        return {
            place.path: int(rng.integers(len(place.candidates)))
            for place in self.places
        }

    def log10_size(self) -> float:
        """Returns the decimal logarithm of the number of genotypes."""
        return sum(math.log10(len(place.candidates)) for place in self.places)


def _end(place: Place, candidate: Candidate) -> tuple[int, int]:
    """Returns channels and pixels behind a candidate."""
    block = candidate.block
    if block is None:
        return place.in_channels, place.in_size_px
    size_px = output_size_px(block, place.in_size_px)
    if isinstance(block, Pooling):
        return place.in_channels, size_px
    return block.out_channels, size_px
