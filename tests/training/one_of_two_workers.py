"""One of the processes that `distribution_test` starts: searches, and tells how.

Arguments: the run folder, and how many epochs there are by then. TF_CONFIG says which
worker it is.
"""

import json
import sys
from pathlib import Path

import tensorflow as tf

from mobilenas_tf.training.config import DistributionConfig
from mobilenas_tf.training.distribution import (
    agreed,
    make_strategy,
    replicated,
    worker_folder,
    worker_share,
)

workdir, epochs = Path(sys.argv[1]), int(sys.argv[2])
# Before the tests' modules, which compute.
strategy = make_strategy(DistributionConfig("multi_worker"))

from tests.training import loop_test  # noqa: E402  # see above

with replicated(strategy):
    folder = worker_folder(workdir, "any settings")
    trainer = loop_test.search_trainer()
    loop_test.train(trainer, folder, epochs)
    told = {
        "agreed": list(agreed([float(worker_share().index), 0.1])),
        "share": [worker_share().index, worker_share().count],
        "folder": str(folder),
        "rows": loop_test.rows_of(folder),
        "gates": [
            tf.convert_to_tensor(logits).numpy().tolist()
            for logits in trainer.supernet.architecture_variables
        ],
    }
print(json.dumps(told))
