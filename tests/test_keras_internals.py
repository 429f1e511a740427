"""The Keras behaviour that `smh.virtual_variable` relies on. Fails first when Keras changes it."""

import keras
import numpy as np
import pytest
from keras import layers

pytestmark = pytest.mark.backend_agnostic


def built(layer=None, shape=(None, 4)):
    layer = layer or layers.Dense(3)
    layer.build(shape)
    return layer


def test_call_is_looked_up_on_the_instance():
    layer, seen = built(), []
    layer.__dict__["call"] = lambda x: seen.append("call") or x
    layer(np.ones((1, 4)))
    layer.stateless_call(layer.trainable_variables, [], np.ones((1, 4)))
    assert seen == ["call", "call"]


def test_one_call_context_lives_from_the_outermost_call_to_its_end():
    from keras.src.backend.common import global_state

    def context():
        return global_state.get_global_attribute("current_call_ctx")

    seen = []

    class Inner(layers.Layer):
        def call(self, x):
            seen.append(context())
            return x

    class Outer(layers.Layer):
        def __init__(self):
            super().__init__()
            self.inner = Inner()

        def build(self, shape):
            self.inner.build(shape)

        def call(self, x):
            return self.inner(self.inner(x))

    outer = Outer()
    outer.build((1, 4))
    for _ in range(2):
        outer(np.ones((1, 4), "float32"))
    assert seen[0] is seen[1] and seen[2] is seen[3] and seen[0] is not seen[2]
    assert seen[0].entry_layer is outer and context() is None


def test_the_stored_tensor_is_in_value_and_reads_go_through_the_property():
    variable = built()._kernel
    assert "_value" in vars(variable)

    class Seven(keras.Variable):
        _value = property(lambda self: None, lambda self, stored: None)

        @property
        def value(self):
            return self._maybe_autocast(keras.ops.full((4, 3), 7.0))

    vars(variable).pop("_value")
    variable.__class__ = Seven
    assert np.all(keras.ops.convert_to_numpy(variable) == 7)
    assert np.all(keras.ops.convert_to_numpy(variable + 1) == 8)
    assert np.all(keras.ops.convert_to_numpy(keras.ops.matmul(np.ones((1, 4)), variable)) == 28)
    assert tuple(variable.shape) == (4, 3) and variable.dtype == "float32"


def test_the_tracker_adds_nothing_whose_id_is_stored_and_is_locked_after_build():
    layer = built()
    kernel = layer._kernel
    layer._untrack_variable(kernel)
    assert [v.name for v in layer._trainable_variables] == ["bias"]
    layer._tracker.stored_ids["trainable_variables"].add(id(kernel))
    layer._kernel = None
    layer._kernel = kernel
    assert [v.name for v in layer._trainable_variables] == ["bias"]
    with pytest.raises(ValueError, match="cannot add new elements of state"):
        layer.extra = layers.Dense(1)
    layer._tracker.unlock()
    layer.extra = layers.Dense(1)
    assert layer.extra in layer._layers


def test_the_trainable_setter_reaches_every_sublayer():
    seen = []

    class Told(layers.Layer):
        @property
        def trainable(self):
            return True

        @trainable.setter
        def trainable(self, value):
            seen.append(value)

    model = keras.Sequential([layers.Dense(2)])
    model.layers[0].told = Told()
    model.trainable = False
    assert seen == [False]


def test_add_weight_sets_the_regularizer_before_it_tracks():
    seen = []
    layer = layers.Dense(3, kernel_regularizer="l2", kernel_constraint="max_norm")
    track = layer._track_variable
    layer.__dict__["_track_variable"] = lambda v: (
        seen.append((v.name, v.regularizer, v.constraint)),
        track(v),
    )
    built(layer)
    assert seen[0][0] == "kernel" and seen[0][1] is not None and seen[0][2] is not None


def test_own_save_methods_of_keras_layers_name_the_kernel():
    layer, store = built(), {}
    layer._untrack_variable(layer._kernel)
    layer.save_own_variables(store)
    assert len(store) == 2  # the kernel although it is not tracked: why they are replaced
    keras.Layer.save_own_variables(layer, store := {})
    assert len(store) == 1


def test_paths_come_from_private_fields():
    variable = keras.Variable(np.zeros(2, "float32"), name="x")
    variable._path = "a/b/x"
    assert variable.path == "a/b/x"

    class Rooted(layers.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(1,), name="w")

    layer = Rooted(name="rooted")
    layer._parent_path = ""
    with keras.name_scope("elsewhere"):
        layer.build(None)
    assert layer.w.path == "rooted/w"


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's creator scope")
def test_a_creator_sees_the_variable_in_a_closure_and_the_layer_in_the_name_scopes():
    import tensorflow as tf
    from keras.src.backend.common import global_state

    seen = []

    def creator(next_creator, **kwargs):
        cells = [c.cell_contents for c in kwargs["initial_value"].__closure__]
        variable = next(c for c in cells if isinstance(c, keras.Variable))
        stack = global_state.get_global_attribute("name_scope_stack")
        seen.append((variable.path, stack[-1].caller))
        return next_creator(**kwargs)

    layer = layers.Dense(3, name="d")
    with tf.variable_creator_scope(creator):
        built(layer)
    assert seen == [("d/kernel", layer), ("d/bias", layer)]


def test_a_layer_lists_its_own_losses_until_it_is_called_again():
    class Penalised(layers.Layer):
        def call(self, x):
            self.add_loss(keras.ops.sum(x))
            return x

    layer = Penalised()
    layer(np.ones(3, "float32"))
    (loss,) = layer._losses
    assert layer._get_own_losses()[0] is loss
    layer(np.ones(3, "float32"))
    assert len(layer._losses) == 1 and layer._losses[0] is not loss


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's variables")
@pytest.mark.parametrize("kind", ["MirroredStrategy", "OneDeviceStrategy"])
def test_a_variable_knows_its_strategy(kind):
    import tensorflow as tf

    strategy = getattr(tf.distribute, kind)(["CPU:0"] if kind == "MirroredStrategy" else "CPU:0")
    with strategy.scope():
        inside = keras.Variable(np.zeros(2, "float32"))
    outside = keras.Variable(np.zeros(2, "float32"))
    assert inside.value._distribute_strategy is strategy
    assert outside.value._distribute_strategy is None


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="PyTorch's list of parameters")
def test_a_layer_lists_the_variables_below_it_by_path_when_it_is_built_or_told_to():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dropout(0.1)])
    dense, path = model.layers[0], model.layers[0]._kernel.path
    listed = model.__dict__["_modules"]["_torch_params"]
    assert {v.path for v in model.variables} == set(listed)
    assert listed[path] is dense._kernel.value
    dense._untrack_variable(dense._kernel)
    assert path in model._torch_params and path not in dense._torch_params
    model._track_variables()
    assert set(model._torch_params) == {v.path for v in model.variables}
    dense._tracker.unlock()
    dense.extra = layers.Dense(1)
    assert "extra" not in vars(dense) and dense.extra is dense._modules["extra"]


def test_a_functional_model_keeps_its_calls_by_depth_and_a_sequential_one_has_one_inside():
    from smh.virtual_variable.inside_keras.graph import configured_layers, graph_of

    x = keras.Input((4,))
    dense = layers.Dense(4)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, name="inside")])
    model = keras.Model(x, [inner(dense(dense(x)) + x), x])
    for each in (model, inner):
        names = [layer["config"]["name"] for layer in each.get_config()["layers"]]
        assert names == [layer.name for layer in configured_layers(each)]
    graph = graph_of(model)
    assert [c.operation.name for c in graph.calls] == [dense.name, dense.name, "add", inner.name]
    assert graph.input_layers == (model.layers[0],)
    first, second = graph.calls[:2]
    assert first.inputs == [x] and second.inputs == list(first.outputs)
    assert graph.outputs[0] is graph.calls[-1].outputs[0] and graph.outputs[1] is x
    assert [call.operation.name for call in graph_of(inner).calls] == ["inside"]
    assert len(graph_of(inner).input_layers) == 1

    class Own(keras.Model):
        def call(self, x):
            return self.layers[-1](x)

    assert graph_of(Own(x, dense(x))) is None and graph_of(dense) is None
    assert graph_of(keras.Sequential([layers.Dense(2)])) is None  # not built


def test_a_configuration_with_other_sizes_is_built_for_them_without_its_build_config():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    config = model.get_config()
    config["layers"][1]["config"]["units"] = 5
    for layer in config["layers"]:
        assert layer["class_name"] == "InputLayer" or layer.pop("build_config")
    fresh = keras.Sequential.from_config(config)
    assert [layer.kernel.shape for layer in fresh.layers] == [(4, 5), (5, 2)]
