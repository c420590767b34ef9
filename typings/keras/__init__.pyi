# Any, because Keras has no annotations, and pyright reads a parameter's type off its
# default: it refuses fit(verbose=0), a schedule as learning_rate and the weights of a
# built layer, and takes every result of keras.ops for, perhaps, an OpenVINO tensor.
from typing import Any

def __getattr__(name: str) -> Any: ...
