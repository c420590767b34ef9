"""Whether the file of a bundle is the one that was exported.

A `.tflite` file has no checksum of its own: most damage to its weights shows nowhere.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from export.bundle_facts import MODEL_FILE
from mobilenas_tf.json_io import read_object

EXPORT_FILE = "export.json"
CHECKSUM = "model_sha256"


def checksum(content: bytes) -> str:
    """Returns what `export.json` says of a file's content."""
    return hashlib.sha256(content).hexdigest()


def check_bundled(path: Path, content: bytes) -> None:
    """Raises a ValueError if a bundle's `export.json` is beside, and of another file.

    Bundles of earlier versions have no checksum in theirs.
    """
    about = path.parent / EXPORT_FILE
    if path.name != MODEL_FILE or not about.is_file():
        return
    known = read_object(about).get(CHECKSUM)
    if known is not None and known != checksum(content):
        raise ValueError(
            f"{path} must be the file that was exported; it was damaged or replaced, "
            f"so export or copy it again, or remove {EXPORT_FILE}. Received: another "
            f"checksum than the one in {about}"
        )
