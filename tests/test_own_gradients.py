"""Functions with a gradient of their own (`keras.ops.custom_gradient`) in a layer's call."""

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import numpy_of
from test_recompute import DOORS, data, doors

import smh
from smh.errors import SelectionError
from smh.virtual_variable import virtual_variables

agnostic = pytest.mark.backend_agnostic
tensorflow_only = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="only there functions may read variables"
)


def upstream_of(args, upstream):
    """Keras gives it by name on PyTorch, and by position elsewhere."""
    return args[0] if upstream is None else upstream


@keras.saving.register_keras_serializable("own gradients")
class Own(layers.Layer):
    """Multiplies by a kernel of rank 2, half of whose gradient is passed on.

    `how` says from where its function has the kernel.
    """

    def __init__(self, how, **kwargs):
        super().__init__(**kwargs)
        self.how = how

    def build(self, input_shape):
        self.kernel = self.add_weight((input_shape[-1], input_shape[-1]), name="kernel")

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        if self.how == "argument":
            return self._argument(x)
        if self.how == "only in its gradient":
            return self._only_in_its_gradient(x)
        return self._itself(x) if self.how == "itself" else self._itself_without_a_gradient(x)

    def _argument(self, x):
        @ops.custom_gradient
        def multiplied(x, kernel):
            def gradient(*args, upstream=None):
                g = 0.5 * upstream_of(args, upstream)
                return ops.matmul(g, ops.transpose(kernel)), ops.matmul(ops.transpose(x), g)

            return ops.matmul(x, kernel), gradient

        return multiplied(x, ops.convert_to_tensor(self.kernel))

    def _only_in_its_gradient(self, x):
        @ops.custom_gradient
        def same(x, kernel):
            def gradient(*args, upstream=None):
                g = upstream_of(args, upstream)
                return ops.matmul(g, ops.transpose(kernel)), ops.matmul(ops.transpose(x), g)

            return ops.multiply(x, 1.0), gradient

        return same(x, ops.convert_to_tensor(self.kernel))

    def _itself(self, x):
        def multiplied(x):
            kernel = ops.convert_to_tensor(self.kernel)

            def gradient(g, variables=None):
                inner = ops.matmul(g, ops.transpose(kernel))
                return inner, [ops.matmul(ops.transpose(x), g) for _ in variables]

            return ops.matmul(x, kernel), gradient

        return ops.custom_gradient(multiplied)(x)

    def _itself_without_a_gradient(self, x):
        def multiplied(x):
            return ops.matmul(x, self.kernel), lambda upstream: upstream

        return ops.custom_gradient(multiplied)(x)

    def get_config(self):
        return {**super().get_config(), "how": self.how}


def network(how):
    keras.utils.set_random_seed(5)
    own = Own(how, name="own")
    return keras.Sequential([keras.Input((4,)), layers.Dense(4), own, layers.Dense(2)])


@agnostic
@doors
@pytest.mark.parametrize("how", ["argument", "only in its gradient"])
def test_a_weight_that_is_given_to_the_function_is_trained(door, how, tmp_path):
    model = door(network(how))
    kernel = model.get_layer("own").kernel
    before = numpy_of(kernel.value)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(*data(), epochs=2, verbose=0)
    assert any(kernel is virtual for virtual in virtual_variables(model))
    assert np.abs(numpy_of(kernel.value) - before).max() > 0

    expected = model.predict(data()[0], verbose=0)
    smh.save(model, tmp_path / "model.smh")
    model.save(tmp_path / "model.keras")
    for again in (
        smh.load(tmp_path / "model.smh"),
        keras.saving.load_model(tmp_path / "model.keras"),
    ):
        np.testing.assert_allclose(again.predict(data()[0], verbose=0), expected, atol=1e-6)


@tensorflow_only
@pytest.mark.parametrize("how", ["itself", "itself, without a gradient"])
@doors
def test_a_weight_that_the_function_reads_itself_is_refused(door, how):
    """What it is computed from would get no gradient from the function, silently."""
    model = network(how)
    with pytest.raises(SelectionError, match="as an argument.*exclude='.*own/kernel'"):
        door(model)
    assert not virtual_variables(model)
    door(model, exclude=".*own/kernel")  # what the message says works
    assert len(virtual_variables(model)) == 2


@tensorflow_only
def test_left_out_it_gets_its_own_gradient():
    model = DOORS["prune"](network("itself"), exclude=".*own/kernel")
    kernel = model.get_layer("own").kernel
    before = numpy_of(kernel)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(*data(), epochs=1, verbose=0)
    assert np.abs(numpy_of(kernel) - before).max() > 0


@agnostic
def test_a_function_beside_the_weight_is_no_reason_to_refuse():
    class Straight(layers.Dense):
        """Rounds what it answers; the gradient goes straight through."""

        def call(self, x):
            def rounded(x):
                def gradient(*args, upstream=None):
                    return upstream_of(args, upstream)

                return ops.round(x * 8) / 8, gradient

            return ops.custom_gradient(rounded)(super().call(x))

    keras.utils.set_random_seed(5)
    model = smh.prune(keras.Sequential([keras.Input((4,)), Straight(4), layers.Dense(2)]), 0.5)
    before = numpy_of(model.layers[0].kernel.value)
    model.compile(keras.optimizers.SGD(0.1), "mse")
    model.fit(*data(), epochs=1, verbose=0)
    assert np.abs(numpy_of(model.layers[0].kernel.value) - before).max() > 0
