"""The state of a model's random generators, which Keras does not save, and of PyTorch's own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from smh.errors import ArtifactError
from smh.virtual_variable.inside_keras.own import own_layers, own_seeds


def random_state(model: keras.Layer) -> list[list[int]]:
    """Returns the states of all random generators, those of dropout for example, as plain JSON.

    Relies on: a generator's `state` is a variable of two integers.
    """
    return [
        np.asarray(keras.ops.convert_to_numpy(s.value)).tolist() for s in generator_states(model)
    ]


def set_random_state(model: keras.Layer, states: Any) -> None:
    """Sets what `random_state` returned, so that training goes on with the same numbers.

    Raises:
        ArtifactError: if `states` is not that of such a model.
    """
    variables = generator_states(model)
    fits = isinstance(states, list) and len(states) == len(variables)
    if not fits or not all(_is_state(s, v) for s, v in zip(states, variables, strict=True)):
        raise ArtifactError(
            f"'{model.name}' has {len(variables)} random generators, which the states "
            f"{states!r:.200} do not fit."
        )
    for variable, state in zip(variables, states, strict=True):
        variable.assign(np.array(state, variable.dtype))


def generator_states(model: keras.Layer) -> list[keras.Variable]:
    """The variables of all random generators of a model, each once."""
    found = {id(state): state for layer in own_layers(model) for state in own_seeds(layer)}
    return list(found.values())


def torch_state() -> list[bytes]:
    """Returns the states of PyTorch's own generators; none on another backend.

    Relies on: on PyTorch a dropout without a seed draws from these, whatever its generator says.
    """
    if keras.backend.backend() != "torch":
        return []
    import torch

    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [state.numpy().tobytes() for state in (torch.get_rng_state(), *on_gpus)]


def set_torch_state(states: list[bytes]) -> None:
    """Sets what `torch_state` returned, of as many devices as there are here.

    Raises:
        RuntimeError: those are no states; none was set.
    """
    if keras.backend.backend() != "torch" or not states:
        return
    import torch

    on_cpu, *on_gpus = (torch.tensor(list(state), dtype=torch.uint8) for state in states)
    torch.set_rng_state(on_cpu)
    for number, state in enumerate(on_gpus[: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, number)


def check_torch_state(states: list[bytes]) -> None:
    """Raises an error unless `set_torch_state` can set them; changes nothing."""
    before = torch_state()
    set_torch_state(states)
    set_torch_state(before)


def _is_state(state: Any, variable: keras.Variable) -> bool:
    limits = np.iinfo(variable.dtype)
    return (
        isinstance(state, list)
        and tuple(variable.shape) == (len(state),)
        and all(type(n) is int and limits.min <= n <= limits.max for n in state)
    )
