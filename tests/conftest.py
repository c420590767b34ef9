from __future__ import annotations

import os
import sys

import pytest

# These must stand before TensorFlow is imported: no GPU, whose values differ by more
# than the tests allow, and no log but errors.
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    """Gives each test the same initial weights, whichever tests ran before."""
    if "keras" in sys.modules:  # a test without Keras need not wait for it
        sys.modules["keras"].utils.set_random_seed(0)
