"""Networks that are really smaller: `smh.slim`, and which channels `smh.prune` can take.

`labels` says which channels are one, the rules (`rules` lists them) what each layer does to them,
`walking` asks them, `removable` finds what can go, `cutting` makes the model without it.
"""

from __future__ import annotations

import keras

from smh.doors.slimming.cutting import cut
from smh.doors.slimming.removable import removable
from smh.doors.slimming.walking import walk


def slim(model: keras.Model) -> keras.Model:
    """Draft."""
    net = walk(model)
    return cut(model, net, removable(net))
