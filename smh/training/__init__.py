"""One training run, from its settings to the files that it leaves: what `smh train` does.

`config` holds the settings, `run_directory` says where things lie, `session` trains. The first two
do without Keras, so that a user's mistake is answered at once.
"""

from smh.training.config import TrainingConfig
from smh.training.run_directory import RunDirectory

__all__ = ["RunDirectory", "TrainingConfig"]
