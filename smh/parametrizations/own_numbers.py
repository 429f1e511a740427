"""What the parametrizations share of which a weight has numbers of its own."""

from __future__ import annotations

import abc

from smh.parametrizations.counting import Counted
from smh.virtual_variable import Parametrization


class OwnNumbers(Parametrization):
    """A weight that is computed from no pool, but from numbers of its own, which are counted."""

    @abc.abstractmethod
    def counted(self) -> Counted:
        """Returns how much there is of it, and that in words."""

    def tally(self):
        """Returns how large the weight is."""
        return self.counted().tally

    def describe(self) -> str:
        """One line for tables and messages: how it is stored."""
        return self.counted().words
