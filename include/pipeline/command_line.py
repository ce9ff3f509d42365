"""What a command needs before it imports anything else of Headroom; its first import.

Airflow puts the plugins folder on the import path when it starts. A command is started from a shell.
"""

from __future__ import annotations

import importlib.util
import sys

from include.pipeline.installation import REPOSITORY

if importlib.util.find_spec("headroom_airflow") is None:
    sys.path.append(str(REPOSITORY / "plugins"))
