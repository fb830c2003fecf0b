"""The file system in memory that loses power and fails when it is told to."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "storage"))
