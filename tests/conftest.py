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

    keras.utils.clear_session()
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("float32")
    yield
    keras.config.set_dtype_policy("float32")
