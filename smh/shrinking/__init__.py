"""A trained network in, the smallest file out: `smh.shrink`.

`products` says which matrix products a layer computes, `statistics` and `gradients` what goes
through them and how much it matters, `shares` how fine each weight is rounded, `rounding` how, and
`flow` does it for a whole model. `search` finds the price of a bit, `shrink_model` is the door.
"""

from smh.shrinking.report import Attempt, Row, ShrinkReport
from smh.shrinking.shrink_model import shrink

__all__ = ["Attempt", "Row", "ShrinkReport", "shrink"]
