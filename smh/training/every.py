"""How often the state of a run is kept. No Keras: a mistake is answered at once."""

from __future__ import annotations

import re
from dataclasses import dataclass

from smh.errors import ArgumentError

_SECONDS = {"s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True)
class Every:
    """How often the state is kept within an epoch; after each epoch it always is.

    Attributes:
        seconds: at the latest after so many; or `None`.
        steps: after so many batches; or `None`.
    """

    seconds: float | None = None
    steps: int | None = None

    @classmethod
    def read(cls, text: str) -> Every:
        """Reads `1m`, `90s`, `2h`, `500steps` or `epoch`; raises `ArgumentError`."""
        found = re.fullmatch(r"(\d*\.?\d+)\s*(s|m|h|steps?)", text.strip().lower())
        if text == "epoch":
            return cls()
        if found is not None and found[2][:4] != "step" and float(found[1]) > 0:
            return cls(seconds=float(found[1]) * _SECONDS[found[2]])
        if found is not None and found[1].isdigit() and int(found[1]) > 0:
            return cls(steps=int(found[1]))
        raise ArgumentError(
            "--checkpoint-every takes a time (1m, 90s, 2h), a number of batches (500steps), or "
            f"epoch: only after each one; got {text!r:.60}."
        )


EACH_MINUTE = Every(seconds=60)
