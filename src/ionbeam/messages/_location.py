"""Where a payload or a dataset lies, as messages say it."""

import os
from typing import Annotated, Any

from pydantic import BeforeValidator


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


Location = Annotated[str, BeforeValidator(_as_text)]
"""An object key; a `pathlib.Path` is taken as its text."""
