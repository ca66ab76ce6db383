"""What other gateways hold of calls whose clients have left: a book, kept by what they tell."""

from typing import NamedTuple

from penstock.gateway.resends import body_digest, key_of
from penstock.wire.siblings import Asked, Change, Held


class Found(NamedTuple):
    """Who holds what."""

    sibling: str
    held: Held


class Elsewhere:
    """The orphans of other gateways, as far as this one has heard: no more than they say they have."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], Found] = {}
        """By sibling and request id."""
        self.by_key: dict[tuple[Asked, int], list[Found]] = {}
        """What was told of first comes first."""

    def __len__(self) -> int:
        return len(self._found)

    def note(self, sibling: str, change: Change) -> None:
        """A sibling has said something."""
        known = self._found.get((sibling, change.request_id))
        if known is not None:
            self.strike(known)
        if isinstance(change, Held):
            found = self._found[sibling, change.request_id] = Found(sibling, change)
            self.by_key.setdefault(key_of(change), []).append(found)

    def forget(self, sibling: str) -> None:
        """A sibling can be heard no more."""
        for found in [found for found in self._found.values() if found.sibling == sibling]:
            self.strike(found)

    def find(self, asked: Asked, body: bytes) -> Found | None:
        """Who holds what the same request left.

        Nothing is hashed unless somebody holds one of the same principal, address and length.
        """
        candidates = self.by_key.get((asked, len(body)))
        if candidates is None:
            return None
        digest = body_digest(body)
        return next((found for found in candidates if found.held.digest == digest), None)

    def strike(self, found: Found) -> None:
        """It is there no more. What has been told anew since it was found stays."""
        place = found.sibling, found.held.request_id
        if self._found.get(place) is not found:
            return
        del self._found[place]
        same = self.by_key[key_of(found.held)]
        same.remove(found)
        if not same:
            del self.by_key[key_of(found.held)]
