import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


@pytest.fixture(autouse=True)
def repeatable():
    """Every test starts from the same seeds and without layers of the test before."""
    # Not at the top: the process that only collects would print TensorFlow's start-up messages
    # behind the closing line.
    import keras

    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")
