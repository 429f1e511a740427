"""Which Keras smh needs; one that is too old is refused when smh is imported.

Without this check the first call of a compressed model would fail, somewhere inside Keras.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata

from smh.errors import MissingPackageError

# `pyproject.toml` asks for the same, and `make test-oldest` runs the tests with it. Before 3.10 a
# `CallContext` has no `get_value`, and layers that are built within a layer cannot be loaded; 3.10
# gives a network whose batches come from a `PyDataset` images without sizes.
OLDEST_KERAS = (3, 11)
_DISTRIBUTIONS = ("keras", "keras-nightly")


def refuse_older_keras() -> None:
    """Raises if the Keras that is there is too old; that there is none is no error.

    `smh.runtime` and `smh.index_store` need none. Keras is not imported: its version is what its
    distribution says.

    Raises:
        MissingPackageError: names the version that is there and the one that is needed.

    Cost: some milliseconds.
    """
    found = installed_keras()
    if found is not None and _number(found) < OLDEST_KERAS:
        needed = ".".join(map(str, OLDEST_KERAS))
        raise MissingPackageError(
            f"smh needs Keras {needed} or newer, and {found} is installed: "
            f"pip install --upgrade 'keras>={needed}'"
        )


def installed_keras() -> str | None:
    """Returns the version of Keras, or `None` where there is none or it does not say."""
    if "keras" in sys.modules:
        return getattr(sys.modules["keras"], "__version__", None)
    found = [version for name in _DISTRIBUTIONS if (version := _version(name)) is not None]
    # Where both are installed, they share one folder: the newer one is what was meant.
    return max(found, key=_number, default=None)


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])
