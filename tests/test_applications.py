"""Outcome: models of `keras.applications`, untouched code, in place."""

import keras
import numpy as np
import pytest
from models import pools_of

import smh

APPLICATIONS = {
    "MobileNet": {},
    "MobileNetV2": {},
    "MobileNetV3Small": {"include_preprocessing": False},
    "EfficientNetB0": {},
    "ResNet50": {},
    "DenseNet121": {},
    "ConvNeXtTiny": {"include_preprocessing": False},
}
QUICK = {"MobileNet"}  # the others take a minute each: `make test-all`


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in APPLICATIONS]
)
def test_compresses_trains_and_predicts(name):
    build = getattr(keras.applications, name)
    model = build(weights=None, input_shape=(32, 32, 3), classes=4, **APPLICATIONS[name])
    selected = sum(int(np.prod(v.shape)) for v in model.trainable_variables if len(v.shape) > 1)
    smh.compress(model, fraction=0.1, seed=0)

    (pool,) = pools_of(model)
    left, right = pool.core_variables
    replica = left.shape[0] + right.shape[1]
    assert 0.1 * selected - replica < pool.core_size <= 0.1 * selected
    assert (pool.pool_size - pool.status) / pool.pool_size < 0.01

    rng = np.random.default_rng(0)
    y = np.arange(16) % 4
    x = rng.normal(size=(16, 32, 32, 3)).astype("float32") + y[:, None, None, None]
    before = [keras.ops.convert_to_numpy(v) for v in (left, right)]
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy")
    losses = model.fit(x, y, batch_size=16, epochs=4, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for old, new in zip(before, (left, right), strict=True):
        assert np.abs(keras.ops.convert_to_numpy(new) - old).max() > 1e-4
    eager = keras.ops.convert_to_numpy(model(x, training=False))
    np.testing.assert_allclose(model.predict(x, verbose=0), eager, rtol=1e-3, atol=1e-4)
