"""What `distributed` trains: each method's trainer, and its batches.

They are made under the strategy that is in force, as the methods themselves do.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from absl import flags

from mobilenas_tf.block_spaces import named_block_space
from mobilenas_tf.costs.block_costs import block_costs
from mobilenas_tf.costs.network import network_cost
from mobilenas_tf.costs.uniform import uniform_network
from mobilenas_tf.one_shot_spaces import named_one_shot_space
from mobilenas_tf.search.config import BudgetConfig, DnasConfig, FigsConfig
from mobilenas_tf.spaces import named_space
from mobilenas_tf.training.config import (
    AugmentationConfig,
    DataConfig,
    OptimizerConfig,
    TrainingConfig,
)

if TYPE_CHECKING:
    import tensorflow as tf

    from mobilenas_tf.training.data import ClassificationData

_DATASET = flags.DEFINE_string("dataset", "digits", "As of the binaries.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "As of the binaries.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", 64, "Images in a step, of all workers."
)
_IMAGES = flags.DEFINE_integer("max_train_images", 1400, "Training images.")

WIDTHS, OPERATORS, ONE_SHOT = "figs_mobilenet_v2_32", "fbnet_32", "one_shot_32"
IMAGE_SIZE_PX = 32
BUDGET_SHARE = 0.15  # of a whole space's cost
NETWORK_MACS = 6e6
EPOCHS = 20
OPTIMIZER = OptimizerConfig()
TRAINING = TrainingConfig(epochs=EPOCHS, dropout_rate=0.0)

Batches = Callable[[int], "tf.data.Dataset"]


def settings() -> dict[str, Any]:
    """Returns what decides the results."""
    return {
        "dataset": _DATASET.value,
        "max_train_images": _IMAGES.value,
        "batch_size": _BATCH_SIZE.value,
        "epochs_of_the_schedule": EPOCHS,
        "network_macs": NETWORK_MACS,
        "spaces": [WIDTHS, OPERATORS, ONE_SHOT],
    }


@dataclasses.dataclass(frozen=True)
class Side:
    """A trainer that takes steps, under the strategy with which it was made."""

    trainer: Any
    train_epoch: Batches
    compiled_step: Callable[[Any], Any]

    @property
    def batch_size(self) -> int:
        """Images in a step, of all workers."""
        return _BATCH_SIZE.value

    def batches(self, count: int, *, is_reordered: bool = False) -> list[Any]:
        """Returns the first batches, as many epochs as it takes.

        Args:
            count: Of batches.
            is_reordered: Whether the halves of every batch change places.
        """
        import tensorflow as tf

        found, epoch = [], 0
        while len(found) < count:
            found += list(self.train_epoch(epoch))
            epoch += 1
        if not is_reordered:
            return found[:count]
        return [
            tf.nest.map_structure(lambda x: tf.roll(x, len(x) // 2, axis=0), batch)
            for batch in found[:count]
        ]

    def step(self, batch: Any) -> float:
        """Takes a step and returns its loss."""
        for metric in self.trainer.metrics:
            metric.reset_state()
        return float(self.compiled_step(batch)["loss"])

    def end_epoch(self) -> None:
        """Does what a run does behind its last step."""
        from mobilenas_tf.training.distribution import average_statistics

        average_statistics(self.trainer.network)

    def values(self) -> np.ndarray:
        """Returns all that a checkpoint holds, `[N]` float64."""
        parts = [np.ravel(value) for value in self._arrays()]
        return np.concatenate(parts).astype(np.float64)

    def take_values_of(self, other: Side) -> None:
        """Sets all that a checkpoint holds to what another side has."""
        for variable, value in zip(self._variables(), other._arrays(), strict=True):
            variable.assign(value)

    def _arrays(self) -> Iterator[np.ndarray]:
        import keras

        return map(keras.ops.convert_to_numpy, self._variables())

    def _variables(self) -> list[Any]:
        items = self.trainer.checkpoint_items().values()
        return [
            variable
            for item in items
            for variable in (item if isinstance(item, list) else item.variables)
        ]


def make_side(method: str) -> Side:
    """Returns a method's side under the strategy in force."""
    from mobilenas_tf.training.distribution import compiled_step

    trainer, train_epoch = METHODS[method]()
    return Side(trainer, train_epoch, compiled_step(trainer))


def _data_config() -> DataConfig:
    return DataConfig(
        dataset=_DATASET.value,
        data_dir=_DATA_DIR.value,
        image_size_px=IMAGE_SIZE_PX,
        batch_size=_BATCH_SIZE.value,
        max_train_images=_IMAGES.value,
    )


def _data() -> ClassificationData:
    from mobilenas_tf.training.data import load_classification_data

    return load_classification_data(_data_config(), AugmentationConfig())


def _objective() -> Any:
    from mobilenas_tf.training.classification import classification_objective

    return classification_objective(label_smoothing=TRAINING.label_smoothing)


def _train() -> tuple[Any, Batches]:
    """A network of some million multiply-adds."""
    from mobilenas_tf.training.classification import classification_task
    from mobilenas_tf.training.fit import prepare_network

    data = _data()
    network = uniform_network(
        WIDTHS, num_classes=data.num_classes, metric="macs", budget=NETWORK_MACS
    )
    task = classification_task(data, label_smoothing=TRAINING.label_smoothing)
    trainer, _ = prepare_network(
        network, task, data, optimizer=OPTIMIZER, training=TRAINING
    )
    return trainer, data.train_epoch


def _figs() -> tuple[Any, Batches]:
    """A search of widths with all its gates."""
    import keras

    from mobilenas_tf.search.assembly import SearchAssembly
    from mobilenas_tf.search.width_budget import width_budget

    data = _data()
    space = named_space(WIDTHS, num_classes=data.num_classes)
    budget = BUDGET_SHARE * network_cost(space.supernet).macs
    keras.utils.set_random_seed(TRAINING.seed)
    trainer = SearchAssembly(
        space,
        FigsConfig(space=WIDTHS),
        width_budget(space, BudgetConfig(max_macs=(budget,))),
        OPTIMIZER,
        TRAINING,
        _objective(),
        steps_per_epoch=data.steps_per_epoch,
        batch_size=data.config.batch_size,
    ).trainer()
    return trainer, data.train_epoch


def _dnas() -> tuple[Any, Batches]:
    """A search of operators by comparing drawn networks, from its first step on."""
    import keras

    from mobilenas_tf.search.dnas import (
        LOGIT_TRAVEL,
        OperatorBudget,
        SearchData,
        search_trainer,
    )
    from mobilenas_tf.training.data import load_divided_data

    config = DnasConfig(space=OPERATORS, warmup_fraction=0.0, num_paths=2)
    data = SearchData(
        *load_divided_data(
            _data_config(), AugmentationConfig(), share=config.architecture_share
        )
    )
    space = named_block_space(OPERATORS, num_classes=data.weights.num_classes)
    costs = block_costs(space, lambda network: network_cost(network).macs)
    keras.utils.set_random_seed(TRAINING.seed)
    total_steps = data.steps_per_epoch * EPOCHS
    trainer = search_trainer(
        space,
        _objective(),
        config,
        OperatorBudget("macs", BUDGET_SHARE * costs.range[1], costs),
        total_steps=total_steps,
        dropout_rate=0.0,
    )
    trainer.compile(
        _weight_optimizer(trainer.supernet.weight_variables, data.weights),
        keras.optimizers.AdamW(LOGIT_TRAVEL / total_steps, weight_decay=0.0),
    )
    return trainer, data.train_epoch


def _one_shot() -> tuple[Any, Batches]:
    """A supernet of which every step trains the widest and the narrowest network."""
    import keras
    import tensorflow as tf

    from mobilenas_tf.models.one_shot_supernet import OneShotSupernet
    from mobilenas_tf.training.one_shot_trainer import OneShotTrainer

    data = _data()
    space = named_one_shot_space(ONE_SHOT, num_classes=data.num_classes)
    keras.utils.set_random_seed(TRAINING.seed)
    supernet = OneShotSupernet(space, name="supernet")
    trainer = OneShotTrainer(supernet, _objective(), has_distillation=True)
    trainer.compile(_weight_optimizer(supernet.trainable_variables, data))
    plans = np.stack([supernet.plan_of(g) for g in (space.widest(), space.narrowest())])

    def train_epoch(epoch: int) -> tf.data.Dataset:
        always = tf.data.Dataset.from_tensors(plans).repeat()
        return tf.data.Dataset.zip(data.train_epoch(epoch), always)

    return trainer, train_epoch


def _weight_optimizer(variables: Any, data: ClassificationData) -> Any:
    from mobilenas_tf.training.optimizers import build_optimizer

    return build_optimizer(
        OPTIMIZER,
        variables,
        steps_per_epoch=data.steps_per_epoch,
        epochs=EPOCHS,
        batch_size=data.config.batch_size,
    )


METHODS: dict[str, Callable[[], tuple[Any, Batches]]] = {
    "train": _train,
    "figs": _figs,
    "dnas": _dnas,
    "one_shot": _one_shot,
}
PATH_DRAWING = ("dnas", "one_shot")
