"""Who hears how far work is."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

Advance = Callable[[int], None]  # says that so many more steps are done
# Gets what is done and in how many steps (`None`: that is not known).
Listener = Callable[[str, int | None], AbstractContextManager[Advance]]
