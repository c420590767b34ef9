"""Named arrays in a NumPy archive, checked byte for byte when they are read.

An archive has a checksum of every array, which NumPy passes over where an array's
header tells of fewer bytes than there are. What the arrays mean is left to the readers.
"""

from __future__ import annotations

import io
import math
import os
import struct
import zipfile
from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from mobilenas_tf.whole_files import replace_when_whole

_MAX_HEADER_BYTES = 1000
_SUFFIX = ".npy"
_ZIP_ERRORS = (zipfile.BadZipFile, NotImplementedError)
# The last record of an archive (PKWARE's APPNOTE 6.3.9, section 4.3.16): signature,
# numbers of disks, members on this disk, members, size and place of their list, length
# of a comment. NumPy writes none.
_END = struct.Struct("<4s4H2IH")


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any]) -> None:
    """Writes arrays, or the values of variables, by name, whole or not at all."""
    with replace_when_whole(path) as temporary:
        plain: dict[str, Any] = {key: np.asarray(each) for key, each in arrays.items()}
        np.savez(temporary, allow_pickle=False, **plain)


def read_arrays(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Returns the arrays of a file of `write_arrays` by name.

    Takes no more memory than the file has bytes.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If the file is damaged, or its arrays are not of finite numbers.
    """
    with open(path, "rb") as file:
        try:
            return _read_archive(file)
        except (OSError, EOFError, ValueError, *_ZIP_ERRORS) as error:
            raise ValueError(
                f"{path} must be a whole file of arrays. Received: a damaged file "
                f"({str(error) or 'it ends early'})"
            ) from error


def _read_archive(file: BinaryIO) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        arrays = {
            member.filename.removesuffix(_SUFFIX): _read_array(archive, member)
            for member in members
        }
    # A wrong length in the list of members hides those behind it.
    file.seek(-_END.size, os.SEEK_END)
    signature, *_, count, _, _, _ = _END.unpack(file.read())
    if signature != b"PK\5\6" or not len(arrays) == len(members) == count:
        raise ValueError(f"{len(arrays)} arrays, not {count}")
    return arrays


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    name, is_encrypted = member.filename, member.flag_bits & 1
    # Nothing is unpacked by its name; whoever writes such a one means no good.
    if name.startswith("/") or ".." in name.split("/"):
        raise ValueError(f"{name!r} is no name of an array")
    # What is compressed may be far larger than the file.
    if member.compress_type != zipfile.ZIP_STORED or is_encrypted:
        raise ValueError(f"{name!r} is compressed or encrypted")
    content = io.BytesIO(archive.read(member))  # compares the checksum
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError(f"{name!r} is of another version")
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(
        content, max_header_size=_MAX_HEADER_BYTES
    )
    data = content.read()
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"{name!r} has {len(data)} bytes, not {dtype} of {shape}")
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if is_fortran else "C")
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} has numbers that are not finite")
    return array
