"""Pictures and pages of a version. Only this package knows matplotlib and jinja2."""

import os
import tempfile
from pathlib import Path

# Where matplotlib keeps its list of fonts: in Lambda nothing else than the temporary folder can be written.
os.environ.setdefault("MPLCONFIGDIR", str(Path(tempfile.gettempdir()) / "tidegate-matplotlib"))
