"""Other values in the place of some variables, for as long as a call is traced."""

from __future__ import annotations

from typing import Any

import keras


class Overlay(keras.StatelessScope):
    """Replaces the values of some variables and leaves the others to the scope around it.

    Relies on: `Variable.value` asks the innermost scope only, by `get_current_value`, and the
    scope around it is kept in `original_scope`.
    """

    def get_current_value(self, variable):
        """Returns what is read in the place of `variable`, or `None`: its own value."""
        value = super().get_current_value(variable)
        if value is None and self.original_scope is not None:
            value = self.original_scope.get_current_value(variable)
        return value


class Substitution(Overlay):
    """An overlay that knows what was assigned to, and lets it through or keeps it inside.

    Args:
        state_mapping: pairs of a variable and what is read in its place.
        assigning: whether the other variables can be assigned to as ever. Else their new values
            are read inside, and forgotten with the scope.

    Attributes:
        assigned: the variables that were assigned to inside.

    Relies on: in a stateless scope `Variable.assign` hands `(variable, tensor)` to `add_update` of
    the innermost scope, and outside of one the tensor to `_direct_assign`.
    """

    def __init__(self, state_mapping=None, assigning=True, **kwargs):
        super().__init__(state_mapping=state_mapping, **kwargs)
        self._assigning = assigning
        self._replaced = set(self.state_mapping)
        self.assigned: list[keras.Variable] = []

    def add_update(self, update: tuple[keras.Variable, Any]) -> None:
        """Takes the new value of a variable."""
        variable, value = update
        self.assigned.append(variable)
        if id(variable) in self._replaced or not self._assigning:
            super().add_update(update)
        else:
            variable._direct_assign(value)
