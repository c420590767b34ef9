# Any, because most of TensorFlow has no annotations, and the stubs that come with
# pyright refuse correct calls such as tf.Variable(0).
from typing import Any

def __getattr__(name: str) -> Any: ...
