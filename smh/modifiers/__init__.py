"""What happens to a weight after it is cut from the pool.

A modifier is a function of one tensor that returns a tensor of the same shape. One that owns
trained variables is a `Modifier`: it says which, and the variables are created once per weight,
named after it (`dense/kernel/scale`), trained and saved.
"""

from __future__ import annotations

import abc
import inspect
import math
from collections.abc import Callable, Iterable, Mapping

import keras
import numpy as np
from keras import ops

from smh.container.naming import apart
from smh.errors import ArgumentError
from smh.typing import Shape, Tensor
from smh.virtual_variable.registered import (
    describe_function,
    describe_object,
    find_function,
    make_object,
)
from smh.virtual_variable.weight_spec import WeightSpec

_INSTEAD_OF_ZERO = 0.01  # small beside other initial scales, and large enough to train


class Modifier(abc.ABC):
    """A modifier that may own trained variables.

    Example:
        A weight that is a learned mixture of itself and its sign::

            @keras.saving.register_keras_serializable()
            class SignMix(smh.Modifier):
                def parts(self, spec):
                    return {"mix": np.float32(0.5)}

                def apply(self, tensor, parts):
                    return parts["mix"] * ops.sign(tensor) + (1 - parts["mix"]) * tensor
    """

    def parts(self, spec: WeightSpec) -> Mapping[str, np.ndarray | np.floating]:
        """Returns the initial values of the trained variables, by name. Default: none.

        A value is a finite number or an array of them; a name consists of letters, digits, `_`, `.`
        and `-`.
        """
        del spec
        return {}

    @abc.abstractmethod
    def apply(self, tensor: Tensor, parts: Mapping[str, Tensor]) -> Tensor:
        """Returns the modified weight; the same shape as `tensor`."""

    def scale(self, parts: Mapping[str, Tensor]) -> Tensor | None:
        """Returns the number that `apply` multiplies by, if it does nothing else; default `None`.

        A pool can multiply by a number at less cost than `apply` can.
        """
        del parts
        return None

    def get_config(self) -> dict:
        """Returns the constructor's arguments, for files that hold a whole model.

        A modifier whose constructor takes arguments has to override it.
        """
        if inspect.signature(type(self)).parameters:
            raise ArgumentError(
                f"The modifier {type(self).__name__} cannot be saved: its constructor takes "
                "arguments. Give it a get_config() that returns them as a dict."
            )
        return {}

    @classmethod
    def from_config(cls, config: dict):
        """Makes the modifier again from what `get_config` returned."""
        return cls(**config)

    def __call__(self, tensor: Tensor) -> Tensor:
        """Applies a modifier that owns no variables."""
        spec = WeightSpec("tensor", "tensor", tuple(tensor.shape), "float32", lambda: 1.0)
        if self.parts(spec):
            raise ArgumentError(
                f"{type(self).__name__} owns trained variables, so it cannot be called on a "
                "tensor. Pass it as `modifier=` to VariableFactory or smh.compress."
            )
        return self.apply(tensor, {})


@keras.saving.register_keras_serializable(package="smh")
class FunctionModifier(Modifier):
    """A function of one tensor, without variables."""

    def __init__(self, function: Callable[[Tensor], Tensor]):
        self.function = function

    def apply(self, tensor, parts):
        """Returns `function(tensor)`."""
        del parts
        return self.function(tensor)

    def get_config(self):
        """Names the function."""
        return {"function": describe_function(self.function, "modifier")}

    @classmethod
    def from_config(cls, config):
        """Finds the function by its name."""
        return cls(find_function(config["function"], "modifier"))


@keras.saving.register_keras_serializable(package="smh")
class ScaleModifier(Modifier):
    """Multiplies the weight by one learned number.

    Args:
        initial: function of the `WeightSpec` that returns the number to start from.
        name: name of the variable.
    """

    def __init__(self, initial: Callable[[WeightSpec], float], name: str = "scale"):
        self.initial = initial
        self.name = name

    def parts(self, spec):
        """One number per weight."""
        return {self.name: np.float32(self.initial(spec))}

    def apply(self, tensor, parts):
        """Returns `scale * tensor`."""
        return tensor * parts[self.name]

    @property
    def is_plain(self) -> bool:
        """Whether it does nothing but multiply: a subclass may do more in `apply`."""
        return type(self).apply is ScaleModifier.apply and type(self).parts is ScaleModifier.parts

    def scale(self, parts):
        """The learned number."""
        return parts[self.name] if type(self).apply is ScaleModifier.apply else None

    def get_config(self):
        """Names the variable, and the function that it starts from."""
        initial = describe_function(self.initial, "initial value of a ScaleModifier")
        return {"initial": initial, "name": self.name}

    @classmethod
    def from_config(cls, config):
        """Finds the function by its name."""
        initial = find_function(config["initial"], "initial value of a ScaleModifier")
        return cls(initial, config["name"])


@keras.saving.register_keras_serializable(package="smh")
class LogScaleModifier(Modifier):
    """Multiplies the weight by `exp` of one learned number: a scale trained as its logarithm.

    A step of Adam then changes each layer's scale by the same share of itself, whatever its size,
    and no scale can reach zero or change its sign. That allows several times higher learning rates
    where some scales are much smaller than others (results/README.md).

    Args:
        initial: function of the `WeightSpec` that returns the scale to start from, at least 0. A
            scale of 0 (a bias that starts at zero) has no logarithm: it starts from 0.01.
        name: name of the variable.

    Raises:
        ArgumentError: when a weight is made, if its initial scale is negative.

    Example:
        >>> smh.compress(model, fraction=0.1, modifier=LogScaleModifier(starts_at_one))
    """

    def __init__(self, initial: Callable[[WeightSpec], float], name: str = "log_scale"):
        self.initial = initial
        self.name = name

    def parts(self, spec):
        """One number per weight."""
        scale = self.initial(spec)
        if scale < 0:
            raise ArgumentError(
                f"The scale of '{spec.path}' cannot start from {scale:g}: it is trained as its "
                "logarithm. Let `initial` return a number of at least 0, or use ScaleModifier."
            )
        return {self.name: np.float32(math.log(scale or _INSTEAD_OF_ZERO))}

    def apply(self, tensor, parts):
        """Returns `exp(log_scale) * tensor`."""
        return tensor * ops.exp(parts[self.name])

    def scale(self, parts):
        """`exp` of the learned number."""
        # A subclass may do more in `apply` than multiply.
        own = type(self).apply is LogScaleModifier.apply
        return ops.exp(parts[self.name]) if own else None

    def get_config(self):
        """Names the variable, and the function that it starts from."""
        initial = describe_function(self.initial, "initial value of a LogScaleModifier")
        return {"initial": initial, "name": self.name}

    @classmethod
    def from_config(cls, config):
        """Finds the function by its name."""
        initial = find_function(config["initial"], "initial value of a LogScaleModifier")
        return cls(initial, config["name"])


@keras.saving.register_keras_serializable(package="smh")
class ChainModifier(Modifier):
    """Applies modifiers one after the other."""

    def __init__(self, modifiers: Iterable[Modifier]):
        self.modifiers = tuple(modifiers)

    def parts(self, spec):
        """The parts of all; a name that occurs again gets a number."""
        return {name: value for names in self._named(spec) for name, (_, value) in names.items()}

    def apply(self, tensor, parts):
        """Returns `f_k(... f_1(tensor))`."""
        spec = WeightSpec("", "", tuple(tensor.shape), "float32", lambda: 1.0)
        for modifier, names in zip(self.modifiers, self._named(spec), strict=True):
            own = {original: parts[name] for name, (original, _) in names.items()}
            tensor = modifier.apply(tensor, own)
        return tensor

    def get_config(self):
        """Describes each modifier."""
        return {"modifiers": [describe_object(m, "modifier") for m in self.modifiers]}

    @classmethod
    def from_config(cls, config):
        """Makes each modifier again."""
        return cls(make_object(entry, Modifier, "modifier") for entry in config["modifiers"])

    def _named(self, spec):
        taken: set[str] = set()
        for modifier in self.modifiers:
            names = {}
            for original, value in modifier.parts(spec).items():
                name = apart(original, taken)
                taken.add(name)
                names[name] = (original, value)
            yield names


def fanout_scale(shape: Shape) -> float:
    """The published initial scale.

    `sqrt(2 / (h w out))` for a 4-D kernel, `1 / sqrt(out)` for a matrix, 1 for everything else.
    """
    if len(shape) == 4:
        height, width, _, out = shape
        return math.sqrt(2.0 / (height * width * out))
    if len(shape) == 2:
        return 1.0 / math.sqrt(shape[1])
    return 1.0


@keras.saving.register_keras_serializable(package="smh")
def constant_fanout_scale_modifier(tensor: Tensor) -> Tensor:
    """Multiplies by the fixed `fanout_scale` of the tensor's shape."""
    return tensor * fanout_scale(tuple(tensor.shape))


@keras.saving.register_keras_serializable(package="smh")
def relu_modifier(tensor: Tensor) -> Tensor:
    """Applies `relu`: a non-negative weight."""
    return ops.relu(tensor)


@keras.saving.register_keras_serializable(package="smh")
def sign_fw_modifier(tensor: Tensor) -> Tensor:
    """The sign in the forward pass, the identity in the backward pass: a binary weight."""
    return tensor + ops.stop_gradient(ops.sign(tensor) - tensor)


@keras.saving.register_keras_serializable(package="smh")
def starts_at_fanout_scale(spec: WeightSpec) -> float:
    """The published initial scale of the weight's shape."""
    return fanout_scale(spec.shape)


@keras.saving.register_keras_serializable(package="smh")
def starts_at_one(spec: WeightSpec) -> float:
    """1."""
    del spec
    return 1.0


@keras.saving.register_keras_serializable(package="smh")
def starts_at_initial_std(spec: WeightSpec) -> float:
    """The standard deviation that the layer's own initializer gave."""
    return spec.initial_std()


fanout_scale_modifier = constant_fanout_scale_modifier
variable_fanout_scale_modifier = ScaleModifier(starts_at_fanout_scale)
variable_scale_modifier = ScaleModifier(starts_at_one)
initial_std_modifier = ScaleModifier(starts_at_initial_std)
variable_log_scale_modifier = LogScaleModifier(starts_at_one)
initial_std_log_scale_modifier = LogScaleModifier(starts_at_initial_std)


def modifier_factory(
    modifiers: Iterable[Modifier | Callable[[Tensor], Tensor]],
) -> ChainModifier:
    """Returns the modifier that applies `modifiers` one after the other."""
    return ChainModifier(as_modifier(modifier) for modifier in modifiers)


def as_modifier(modifier: Modifier | Callable[[Tensor], Tensor] | None) -> Modifier:
    """Accepts what users may pass as `modifier=`; `None` leaves the weight as it is cut."""
    if modifier is None:
        return ChainModifier(())
    if isinstance(modifier, Modifier):
        return modifier
    if callable(modifier):
        return FunctionModifier(modifier)
    raise ArgumentError(
        "modifier must be a function of one tensor, a smh.Modifier or None, "
        f"got {type(modifier).__name__}. For several, use modifier_factory([...])."
    )
