import gc
import os

import browser
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")


def pytest_collection_modifyitems(items):
    """Skips, and says so, what needs a browser where there is none."""
    reason = "needs Chromium (Debian, Ubuntu: apt-get install chromium)"
    missing = pytest.mark.skipif(browser.executable() is None, reason=reason)
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(missing)


@pytest.fixture(autouse=True)
def repeatable():
    """Every test starts from the same seeds and without layers of the test before."""
    # Not at the top: the process that only collects would print TensorFlow's start-up messages
    # behind the closing line.
    import keras

    # Collecting garbage after each test took more than half of the suite's time: TensorFlow keeps
    # millions of objects. Python's own collections, and one for each file, keep memory in bounds.
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")


@pytest.fixture(autouse=True, scope="session")
def frozen():
    """What is there after the imports is not looked at again when garbage is collected."""
    import smh  # noqa: F401  and with it Keras and its backend

    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def traced_once(request, monkeypatch):
    """Builds a model's optimizer before its training step is traced: half of the tracing.

    A `tf.function` that makes variables is traced twice, and Keras on TensorFlow lets the first
    training step make those of the optimizer. Tests marked `optimizer_built_by_keras` leave it so.
    """
    import keras

    lazily = request.node.get_closest_marker("optimizer_built_by_keras")
    if lazily or keras.backend.backend() != "tensorflow":
        return
    of_keras = keras.Model.make_train_function

    def make_train_function(model, *args, **kwargs):
        alone = getattr(model, "_distribute_strategy", None) is None
        if alone and model.built and not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)
        return of_keras(model, *args, **kwargs)

    monkeypatch.setattr(keras.Model, "make_train_function", make_train_function)


@pytest.fixture(autouse=True, scope="module")
def collected():
    """Frees the models of one file of tests before the next.

    What is left is not looked at again: TensorFlow and Keras keep thousands of objects of each
    model that was trained, some million in all, and going through them took a seventh of the time.
    """
    yield
    gc.collect()
    gc.freeze()
