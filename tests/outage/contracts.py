"""The folder of the generated contracts, which is importable once this module is."""

import sys
from pathlib import Path
from typing import Final

GENERATED: Final = Path(__file__).resolve().parents[1] / "mesh" / "typed" / "generated"

# pytest has it there already.
if str(GENERATED) not in sys.path:
    sys.path.append(str(GENERATED))
