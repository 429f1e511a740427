"""The Keras behaviour that `smh.virtual_variable` relies on. Fails first when Keras changes it."""

import threading

import keras
import numpy as np
import pytest
from keras import layers
from keras_behaviour import SAVES_CONTAINERS_IN_CONTAINERS

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


def test_keras_names_inputs_by_their_layers_and_reads_a_dict_by_their_tensors():
    unnamed, named = keras.Input((3,)), keras.Input((3,), name="x")
    assert unnamed.name != unnamed._keras_history.operation.name
    assert named.name == named._keras_history.operation.name == "x"
    model = keras.Model([unnamed, named], unnamed + named)
    with pytest.raises(ValueError, match=f'input "{unnamed._keras_history.operation.name}"'):
        model({unnamed.name: np.zeros((2, 3)), "x": np.zeros((2, 3))})


def test_a_configuration_with_other_sizes_is_built_for_them_without_its_build_config():
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)])
    config = model.get_config()
    config["layers"][1]["config"]["units"] = 5
    for layer in config["layers"]:
        assert layer["class_name"] == "InputLayer" or layer.pop("build_config")
    fresh = keras.Sequential.from_config(config)
    assert [layer.kernel.shape for layer in fresh.layers] == [(4, 5), (5, 2)]


class Holding(layers.Layer):
    """Has layers as an attribute, in a list, and in a dictionary in a list."""

    def __init__(self):
        super().__init__()
        self.one = layers.Dense(3)
        self.many = [self.one, layers.Dense(3), {"a": layers.Dense(3), "b": layers.Dropout(0.1)}]

    def build(self, shape):
        for layer in (self.one, self.many[1], self.many[2]["a"]):
            layer.build(shape)

    def call(self, x):
        return self.one(x)


def test_the_paths_of_layers_are_those_under_which_keras_saves_them(tmp_path):
    import h5py

    from smh.virtual_variable.inside_keras.saveables import saveables

    model = keras.Sequential([keras.Input((4,)), Holding(), layers.Dense(2), layers.Dense(2)])
    model.compile("adam", "mse")
    model.save_weights(tmp_path / "m.weights.h5")
    stored = set()
    with h5py.File(tmp_path / "m.weights.h5") as file:
        file.visititems(lambda path, item: stored.add(path) if path.endswith("/vars") else None)
        stored = {path.removesuffix("/vars") for path in stored if len(file[path])}
    paths = {
        path: layer
        for path, layer in saveables(model).items()
        if getattr(layer, "_trainable_variables", None)
    }
    inner = "layers/holding/many/container/dense"
    if not SAVES_CONTAINERS_IN_CONTAINERS:
        stored.add(inner)
    assert set(paths) == {path for path in stored if not path.startswith("optimizer")}
    assert inner in paths
    assert paths["layers/holding/many/dense_1"] is model.layers[0].many[1]


def test_layers_save_and_load_what_is_listed_on_the_instance():
    layer = built(layers.LayerNormalization())
    extra = keras.Variable(np.zeros(2), name="extra")
    tracked = layer._trainable_variables
    layer.__dict__["_trainable_variables"] = [extra, *tracked]
    store = {}
    keras.Layer.save_own_variables(layer, store)
    assert store["0"] is extra and len(store) == 3
    layer.__dict__["_trainable_variables"] = tracked
    assert not any(variable is extra for variable in layer.variables)


def test_a_stateless_scope_leaves_variables_without_values():
    from keras.src.backend.common import global_state

    before = list(global_state.get_global_attribute("uninitialized_variables", []))
    with keras.StatelessScope(initialize_variables=False):
        layer = built()
    noted = global_state.get_global_attribute("uninitialized_variables")
    assert layer._kernel._value is None and tuple(layer._kernel._shape) == (4, 3)
    assert any(layer._kernel is variable for variable in noted)
    global_state.set_global_attribute("uninitialized_variables", before)


def test_names_are_counted_and_seeds_drawn_where_they_can_be_put_back():
    import random

    from keras.src.backend.common import global_state

    layers.Dense(3)
    assert "dense" in global_state.get_global_attribute("object_name_uids")
    state = random.getstate()
    first = keras.initializers.GlorotUniform().seed
    random.setstate(state)
    assert keras.initializers.GlorotUniform().seed == first


def test_what_is_shared_is_noted_by_id_in_two_attributes():
    from keras.src.backend.common import global_state
    from keras.src.saving.serialization_lib import ObjectSharingScope

    names = ["shared_objects/id_to_obj_map", "shared_objects/id_to_config_map"]
    layer = layers.Dense(3)
    with ObjectSharingScope():
        assert [global_state.get_global_attribute(name) for name in names] == [{}, {}]
        keras.saving.serialize_keras_object(layer)
        again = keras.saving.serialize_keras_object(layer)
        assert again["shared_object_id"] == id(layer)
        made = [keras.saving.deserialize_keras_object(dict(again)) for _ in range(2)]
        assert made[0] is made[1]
    assert [global_state.get_global_attribute(name) for name in names] == [None, None]


def test_the_class_to_make_is_asked_for_with_the_whole_configuration(monkeypatch):
    from keras.src.saving import serialization_lib

    seen, asked = [], serialization_lib._retrieve_class_or_fn

    def retrieve(name, registered_name, module, obj_type, full_config, custom_objects=None):
        seen.append((name, obj_type, full_config["config"]))
        return asked(name, registered_name, module, obj_type, full_config, custom_objects)

    monkeypatch.setattr(serialization_lib, "_retrieve_class_or_fn", retrieve)
    config = keras.saving.serialize_keras_object(layers.Flatten())
    keras.saving.deserialize_keras_object(config)
    assert ("Flatten", "class", config["config"]) in seen


def test_loading_empties_a_configuration():
    model = keras.Model(x := keras.Input((2,)), layers.Dense(1)(x))
    config = keras.saving.serialize_keras_object(model)
    keras.saving.deserialize_keras_object(config)
    assert "layers" not in config["config"]


def test_hooks_of_keras_own_layers_only_assign_variables():
    """Those of a module that `hooks` takes for plain; a new one has to be looked at."""
    from smh.virtual_variable.inside_keras.hooks import has_own_hooks

    every = {name: cls for name, cls in vars(layers).items() if isinstance(cls, type)}
    classes = {name: cls for name, cls in every.items() if issubclass(cls, keras.Layer)}
    usual = keras.Layer.load_own_variables
    own = {name for name, cls in classes.items() if cls.load_own_variables is not usual}
    plain = {"Dense", "Embedding", "EinsumDense", "ReversibleEmbedding", "TernaryDense"}
    plain |= {name for name in own if "Conv" in name}
    stateful = {"Normalization", "Discretization", "TextVectorization", "StringLookup"}
    stateful |= {"IntegerLookup", "TorchModuleWrapper", "IndexLookup", "HashedCrossing"}
    assert own - plain - stateful - {"Layer"} == set(), "look at what their hooks do"
    assert not has_own_hooks(built()) and has_own_hooks(layers.Normalization())


def test_of_keras_layers_only_spectral_normalization_assigns_to_a_trained_weight():
    from smh.virtual_variable.computable import _TELLING
    from smh.virtual_variable.trying import names_used, tried

    kinds = [k for k in vars(layers).values() if isinstance(k, type) and issubclass(k, keras.Layer)]
    assign = {k.__name__ for k in kinds if any(n & _TELLING for n in names_used(k))}
    recurrent = {"RNN", "SimpleRNN", "LSTM", "GRU", "ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"}
    others = {"FlaxLayer", "JaxLayer"}  # to their state, which is not trained
    assert assign - others == recurrent | {"BatchNormalization", "SpectralNormalization"}
    for layer, shape in (
        (layers.BatchNormalization(), (None, 4)),
        (layers.GRU(2, stateful=True), (3, 5, 4)),
        (layers.ConvLSTM1D(2, 2), (None, 3, 5, 4)),
    ):
        built(layer, shape)
        assert tried(layer, layer.trainable_variables).assigned == []
    normalised = built(layers.SpectralNormalization(layers.Dense(3)))
    trial = tried(normalised, normalised.trainable_variables)
    assert trial.assigned == [normalised.layer.kernel]


def test_a_layer_says_which_shapes_it_was_built_for():
    assert built().get_build_config() == {"input_shape": (None, 4)}
    attention = layers.MultiHeadAttention(1, 2)
    attention.build((None, 5, 4), (None, 6, 4))
    shapes = attention.get_build_config()["shapes_dict"]
    assert shapes["query_shape"] == (None, 5, 4) and shapes["value_shape"] == (None, 6, 4)


def test_what_is_assigned_in_a_stateless_scope_stays_in_it():
    variable = keras.Variable(np.zeros(2, "float32"))
    with keras.StatelessScope() as scope:
        assert scope.get_current_value(variable) is None
        variable.assign(np.ones(2))
    assert scope.get_current_value(variable) is not None
    assert not np.asarray(keras.ops.convert_to_numpy(variable.value)).any()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's tapes")
@pytest.mark.parametrize("traced", [True, False])
def test_nothing_is_recorded_while_what_is_recomputed_runs_forward(traced):
    import tensorflow as tf

    from smh.virtual_variable.inside_keras.tapes import is_stopped

    seen = []

    @tf.recompute_grad
    def function(x):
        seen.append(is_stopped())
        return x * x

    def step(x):
        with tf.GradientTape() as tape:
            seen.append(is_stopped())
            tape.watch(x)
            y = function(x)
            seen.append(is_stopped())
        return tape.gradient(y, x)

    (tf.function(step) if traced else step)(tf.constant(3.0))
    assert seen == [False, True, False, False]  # the last one: run again, for the gradient


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's functions")
def test_a_function_with_its_own_gradient_reads_its_variables_once_more():
    import tensorflow as tf

    from smh.virtual_variable.inside_keras.custom_gradients import given_for, refused_by

    inside, argument = (keras.Variable(np.ones(3, "float32"), name=name) for name in "ia")

    def function(x, gradient):
        return x * inside.value, gradient

    with tf.Graph().as_default(), tf.__internal__.FuncGraph("scratch").as_default():
        tf.custom_gradient(lambda x: function(x, lambda g, variables: (g, [g])))(argument.value)
        assert given_for([inside, argument]) == [inside]
        with pytest.raises(TypeError) as error:
            tf.custom_gradient(lambda x: function(x, lambda g: g))(argument.value)
    assert refused_by(error.value, [inside, argument]) == [inside]


def test_what_made_an_output_is_in_its_history():
    from keras import ops

    from smh.virtual_variable.inside_keras.outputs import output_activations, symbolic_output

    x = keras.Input((4,))
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(3, "softmax")])
    outputs = {
        "a": layers.Softmax()(x),
        "b": layers.Activation("linear", dtype="float32")(layers.Dense(2, "sigmoid")(x)),
        "c": layers.Reshape((3, 1))(inner(x)),
        "d": ops.softmax(x),
        "e": ops.sigmoid(x),
        "f": layers.Dense(2, "relu")(x),
        "g": layers.TimeDistributed(layers.Dense(2, "softmax"))(layers.Reshape((2, 2))(x)),
        "h": layers.Dropout(0.5)(layers.Dense(2)(x)),
    }
    expected = ["softmax", "sigmoid", "softmax", "softmax", "sigmoid", "linear", "softmax"]
    model = keras.Model(x, outputs)
    assert output_activations(model) == [*expected, "linear"]
    assert set(symbolic_output(model)) == set(outputs)
    assert symbolic_output(inner).shape == (None, 3) and output_activations(inner) == ["softmax"]
    assert symbolic_output(keras.Sequential([layers.Dense(3)])) is None


def test_the_optimizer_counts_every_step_also_those_that_only_accumulate():
    from smh.virtual_variable.inside_keras.training_state import steps_made

    for wrap in (lambda inner: inner, keras.optimizers.LossScaleOptimizer):
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
        assert steps_made(model) == 0
        model.compile(wrap(keras.optimizers.SGD(gradient_accumulation_steps=3)), "mse")
        for _ in range(5):
            model.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
        assert steps_made(model) == 5


def test_a_layer_opens_a_name_scope_of_its_name_and_tracks_its_generators():
    from keras.src.backend.common.name_scope import current_path

    seen = []

    class Reads(layers.Layer):
        def __init__(self):
            super().__init__(name="reads")
            self.seeds = keras.random.SeedGenerator(0)

        def call(self, x):
            seen.append(current_path())
            return x

    layer = Reads()
    layer(np.ones((1, 4), "float32"))
    assert seen[-1].split("/")[-1] == "reads"
    assert [generator.state for generator in layer._seed_generators] == [layer.seeds.state]


RANDOM = ["GlorotUniform", "HeNormal", "LecunNormal", "RandomNormal", "RandomUniform"]
RANDOM += ["TruncatedNormal", "VarianceScaling", "Orthogonal"]


def test_models_that_are_filled_afterwards_start_at_zero():
    def drawn():
        made = [getattr(keras.initializers, name)(seed=1)((4, 5)) for name in RANDOM]
        return [bool(np.any(keras.ops.convert_to_numpy(one))) for one in made]

    from smh.virtual_variable.inside_keras import blank

    elsewhere = []
    with blank.starting_at_zero():
        assert drawn() == [False] * len(RANDOM)
        assert keras.initializers.Ones()((2,)).shape == (2,)
        thread = threading.Thread(target=lambda: elsewhere.extend(drawn()))
        thread.start()
        thread.join()
    assert drawn() == elsewhere == [True] * len(RANDOM)
