"""A dataset's name as a part of object keys and file names."""

from urllib.parse import quote

LONGEST_NAME = 200
"""Bytes a dataset's name may have as `object_name` writes it: file names of 255 bytes also hold a window."""


def object_name(name: str) -> str:
    """``name`` with all but ``A-Za-z0-9._-``, and a leading dot, %-encoded as UTF-8 bytes.

    Different names stay different, and none is a path, a hidden file, ``.`` or ``..``.
    """
    safe = quote(name, safe="").replace("~", "%7E")
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe
