"""`python -m athanor.cli` is `athanor`."""

from __future__ import annotations

import sys

from athanor.cli import main

if __name__ == "__main__":
    sys.exit(main())
