"""What must never be shown: passwords, tokens, and whatever a URL carries besides its address."""

import re
from typing import Any

from ionbeam.config.settings import Settings

MASK = "***"

_SECRET_KEY = re.compile(
    r"(^|[_-])(password|passwd|passphrase|token|secret|api[_-]?key|private[_-]?key|authorization|cookie)$",
    re.I,
)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)\S*@", re.I)
_QUERY_SECRET = re.compile(r"(?P<name>[?&](?:[\w-]*token|password|[\w-]*key|[\w-]*secret)=)[^&#\s]*", re.I)


def is_secret(key: str) -> bool:
    """Whether a key's value is not to be seen: ``influxdb_token`` is, ``token_endpoint`` is not."""
    return _SECRET_KEY.search(key) is not None


def masked(value: Any, key: str = "") -> Any:
    """``value`` with everything secret in it replaced; ``key`` is the key it stands under."""
    if isinstance(value, dict):
        return {k: masked(v, str(k)) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [masked(item, key) for item in value]
    if value not in (None, "") and is_secret(key):
        return MASK
    if isinstance(value, str):
        return _QUERY_SECRET.sub(rf"\g<name>{MASK}", _USERINFO.sub(rf"\g<scheme>{MASK}@", value))
    return value


def shown(settings: Settings) -> dict[str, Any]:
    """The settings as JSON values, secrets masked."""
    form: dict[str, Any] = masked(settings.model_dump(mode="json"))
    return form
