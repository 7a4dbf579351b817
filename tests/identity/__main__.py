"""`python -m tests.identity`: the command, with the generated modules of the tests to be found."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "mesh/typed/generated"))

from tests.identity.command import main

if __name__ == "__main__":
    main()
