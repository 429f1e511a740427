"""Laws on PyTorch: what `parameters()` and `state_dict()` list, plain loops, once per call."""

import gc
import weakref

import keras
import numpy as np
import pytest
from keras import layers, ops
from models import TwoLayers, mlp, pools_of, sequential, subclassed

import smh
from smh.errors import SelectionError, SmhWarning
from smh.virtual_variable import virtual_variables

if keras.backend.backend() != "torch":
    pytest.skip("about PyTorch", allow_module_level=True)

import torch
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = pytest.mark.backend_agnostic


def functional():
    x = keras.Input((12,))
    return keras.Model(x, layers.Dense(3)(layers.Dense(24, activation="relu")(x)))


def whole(make):
    """A model, all of which is compressed."""
    return lambda: (make(),) * 2


def inside(compressed):
    """A model that is built around what is compressed later, and which smh is not told of."""

    def make():
        model = keras.Sequential([keras.Input((12,)), functional(), layers.Dense(3)])
        return model, compressed(model)

    return make


BUILDERS = {
    "sequential": whole(mlp),
    "functional": whole(functional),
    "subclassed": whole(subclassed),
    "submodel": inside(lambda model: model.layers[0]),
    "one layer": inside(lambda model: model.layers[0].layers[1]),
}
every_model = pytest.mark.parametrize("make", BUILDERS.values(), ids=BUILDERS)


def data():
    x = np.random.default_rng(0).normal(size=(32, 12)).astype("float32")
    return torch.from_numpy(x), torch.from_numpy(x[:, :3] ** 2)


def loss_of(model):
    x, y = data()
    return torch.nn.functional.mse_loss(model(x), y)


def ids(tensors):
    return sorted(id(tensor) for tensor in tensors)


class Products(TorchDispatchMode):
    """Counts the matrix products whose result has the shape of the pool."""

    def __init__(self, pool):
        super().__init__()
        left, right = pool.core_variables
        self.shape, self.count = (left.shape[0], right.shape[1]), 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.mm.default and tuple(result.shape) == self.shape:
            self.count += 1
        return result


def products(model, *inputs, pool=None):
    with Products(pool or pools_of(model)[0]) as counted:
        model(*inputs)
    return counted.count


@every_model
def test_parameters_are_the_stored_variables_once_and_the_dense_ones_are_freed(make):
    model, part = make()
    dense = [weakref.ref(v.value) for v in part.trainable_variables if len(v.shape) == 2]
    smh.compress(part, 0.5)
    gc.collect()
    assert dense and not any(ref() is not None for ref in dense)
    assert ids(model.parameters()) == ids(v.value for v in model.variables)
    for virtual in virtual_variables(model):
        assert virtual.value.grad_fn is not None


@every_model
def test_a_pytorch_loop_trains_the_factors(make):
    model, part = make()
    smh.compress(part, 0.5, seed=0)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    model.to("cpu").train()
    before = [v.numpy().copy() for v in model.trainable_variables]
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(loss_of(model))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]
    for old, new in zip(before, model.trainable_variables, strict=True):
        assert not np.array_equal(old, new.numpy()), new.path
    model.eval()
    assert loss_of(model) < losses[-1]


@every_model
def test_state_dict_holds_no_computed_weight_and_round_trips(make):
    def built(seed):
        keras.utils.clear_session()  # the keys are paths; layers are numbered anew
        model, part = make()
        smh.compress(part, 0.5, seed=seed)
        model.layers[-1].trainable = False  # with a dense snapshot, if it is compressed
        return model

    first, second = built(1), built(2)
    state = first.state_dict()
    stored = ids(v.value for v in first.variables)
    assert ids({id(t): t for t in first.state_dict(keep_vars=True).values()}.values()) == stored
    assert abs(loss_of(second) - loss_of(first)) > 1e-3
    second.load_state_dict(state)
    torch.testing.assert_close(loss_of(second), loss_of(first))


def test_two_pools_in_one_model_are_both_listed():
    first, second = (smh.compress(functional(), 0.5) for _ in range(2))
    x = keras.Input((12,))
    model = keras.Model(x, layers.Add()([first(x), second(x)]))
    twice = smh.MetaVariablePool(True, 1.0, 2000, 0.5, elements=["HASH_POOL", "HASH_POOL"])
    for each in (model, smh.compress(functional(), pool=twice)):
        assert ids(each.parameters()) == ids(v.value for v in each.variables)


def deep():
    return sequential(*[lambda: layers.Dense(12, activation="relu")] * 10)()


@pytest.mark.parametrize(
    "make, shape",
    [
        (deep, (2, 12)),
        (sequential(lambda: layers.LSTM(10), lambda: layers.Dense(3), shape=(5, 6)), (2, 5, 6)),
        (sequential(lambda: layers.Bidirectional(layers.GRU(7)), shape=(5, 6)), (2, 5, 6)),
    ],
    ids=["ten layers", "lstm", "bidirectional"],
)
def test_one_product_per_call(make, shape):
    model = smh.compress(make(), 0.3)
    for _ in range(2):
        assert products(model, torch.zeros(shape)) == 1


def test_a_model_called_three_times_in_one_call_computes_once():
    twin = smh.compress(mlp(), 0.5)
    inputs = [keras.Input((12,)) for _ in range(3)]
    siamese = keras.Model(inputs, layers.Concatenate()([twin(i) for i in inputs]))
    assert products(siamese, [torch.zeros(2, 12)] * 3, pool=pools_of(twin)[0]) == 1
    loose = keras.Sequential([keras.Input((12,)), *smh.compress(deep(), 0.3).layers])
    assert products(loose, torch.zeros(2, 12)) == 1


def test_nothing_computed_outlives_the_call():
    model, computed = smh.compress(mlp(), 0.5), []
    pool = pools_of(model)[0]
    entries = pool.entries

    def recorded(*args):
        flat = entries(*args)
        computed.append(weakref.ref(flat.untyped_storage()))
        return flat

    pool.__dict__["entries"] = recorded
    with torch.no_grad():
        model(data()[0])
    assert len(computed) == 1 and computed[0]() is None


def test_two_forwards_and_two_backwards_add_up():
    model = smh.compress(mlp(), 0.5)
    factor = pools_of(model)[0].core_variables[0].value
    loss_of(model).backward()
    once = factor.grad.clone()
    first, second = loss_of(model), loss_of(model)
    first.backward()
    second.backward()
    torch.testing.assert_close(factor.grad, 3 * once)


def test_a_target_without_gradient_takes_it_from_nothing_else_in_the_call():
    class Student(TwoLayers):
        def call(self, x):
            with torch.no_grad():
                target = self.hidden(x)
            return self.out(self.hidden(x) + target)

    model = Student(12)
    model(data()[0])
    pool = smh.ProductVariablePool(True, 200, 0.5)
    for layer in (model.hidden, model.out):  # smh is not told of the model
        smh.compress(layer, pool=pool)
    loss_of(model).backward()
    assert all(factor.value.grad is not None for factor in pool.core_variables)


def test_shapes_asked_for_inside_a_call_leave_no_tensor_without_values():
    class Asks(layers.Layer):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def call(self, x):
            keras.Layer.compute_output_spec(self.inner, keras.KerasTensor((32, 12)))
            return self.inner(x)

    inner = smh.compress(mlp(), 0.5)
    expected = inner(data()[0])
    torch.testing.assert_close(Asks(inner)(data()[0]), expected)


def test_a_frozen_layer_stays_while_a_pytorch_loop_trains_the_rest():
    model = smh.compress(mlp(), 0.5)
    frozen = model.layers[0]
    frozen.trainable = False
    before = ops.convert_to_numpy(frozen.kernel)
    assert ids(model.parameters()) == ids(v.value for v in model.variables)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    loss_of(model).backward()
    optimizer.step()
    np.testing.assert_array_equal(ops.convert_to_numpy(frozen.kernel), before)


def test_what_a_deployed_model_keeps_is_listed_until_it_is_trained_again():
    model = smh.compress(functional(), 0.5)
    before = ids(model.parameters())
    kept = ids(v.value for v in smh.deploy(model, "cached").variables)
    assert ids(model.parameters()) == kept and len(kept) == len(before) + 2
    assert ids(smh.deploy(model, "train").parameters()) == before


def test_modules_of_pytorch_stay_dense_with_a_warning():
    wrapped = layers.TorchModuleWrapper(torch.nn.Linear(12, 12))
    model = keras.Sequential([wrapped, layers.Dense(3)])
    model(data()[0])
    with pytest.warns(SmhWarning, match="wraps a PyTorch module"):
        smh.compress(model, 0.5)
    assert [v.name for v in virtual_variables(model)] == ["kernel"]
    with pytest.raises(SelectionError, match="Nothing was selected"):
        smh.compress(wrapped, 0.5)


@pytest.mark.slow
def test_compiled_steps_equal_plain_ones():
    histories = []
    for jit in (True, False):
        keras.utils.set_random_seed(0)
        model = smh.compress(mlp(), 0.5, seed=0)
        model.compile("adam", "mse", jit_compile=jit)
        histories.append(model.fit(*data(), batch_size=8, epochs=2, verbose=0).history["loss"])
    np.testing.assert_allclose(*histories, rtol=1e-5)
