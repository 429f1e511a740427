"""`python -m smh`."""

import sys

from smh.cli import main

if __name__ == "__main__":
    sys.exit(main())
