"""Pages of lists that are read from the newest to the oldest: a token says behind which id the next page begins."""

import base64
import binascii
from typing import Any

from penstock.domain.errors import InvalidParameterValue

_PREFIX = "before:"


def token_of(last_id: int) -> str:
    """The token of the page that follows an id."""
    return base64.urlsafe_b64encode(f"{_PREFIX}{last_id}".encode()).decode()


def before(token: str | None) -> int | None:
    """The id that a token says; None for the first page.

    Raises:
        InvalidParameterValue: no answer of ours held it.
    """
    if not token:
        return None
    try:
        text = base64.b64decode(token, altchars=b"-_", validate=True).decode()
        if not text.startswith(_PREFIX) or not 0 <= (found := int(text.removeprefix(_PREFIX))) < 1 << 63:
            raise ValueError(text)
    except (binascii.Error, ValueError):
        raise InvalidParameterValue(f"page_token: got '{token[:40]}', which no answer of ours held.") from None
    return found


def page(name: str, items: list[Any], ids: list[int], limit: int) -> dict[str, Any]:
    """An answer of at most `limit` items, from one more than that.

    Args:
        name: of the field.
        items: as they are to be told.
        ids: theirs.
        limit: of a page.
    """
    has_more = len(items) > limit
    found: dict[str, Any] = {"has_more": has_more}
    if items:
        found[name] = items[:limit]
    if has_more:
        found["next_page_token"] = token_of(ids[limit - 1])
    return found
