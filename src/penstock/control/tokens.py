"""Use cases of tokens: create, list, revoke. A token's secret exists in the answer to its creation only."""

import secrets
import uuid

from penstock.control.clock import now_ms
from penstock.control.publisher import Publisher
from penstock.domain.access import TOKEN_PREFIX, Token, digest_of
from penstock.domain.errors import ResourceDoesNotExist, TemporarilyUnavailable
from penstock.domain.names import check_principal_name
from penstock.stores.database import Database


class Tokens:
    """All that can be done with tokens."""

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher

    def all(self) -> list[Token]:
        """All tokens, oldest first, without their secrets."""
        return self._database.tokens()

    async def create(self, principal: str, comment: str = "") -> tuple[Token, str]:
        """A new token for a principal, and its secret. It works once this has returned.

        Raises:
            InvalidParameterValue: it is no name of a principal.
        """
        token, secret = issue_token(self._database, principal, comment)
        await self._publisher.publish_and_settle()
        return token, secret

    async def revoke(self, token_id: str) -> None:
        """Make a token worthless. Every gateway refuses it once this has returned.

        Raises:
            ResourceDoesNotExist: there is no such token.
            TemporarilyUnavailable: it is revoked, but a gateway has not confirmed it in time.
        """
        if not self._database.delete_token(token_id):
            raise ResourceDoesNotExist(f"There is no token with id '{token_id}'.")
        if not await self._publisher.publish_and_settle():
            raise TemporarilyUnavailable("The token is revoked, but a gateway has not confirmed it yet.")


def issue_token(database: Database, principal: str, comment: str) -> tuple[Token, str]:
    """Store a new token; returns it with its secret."""
    check_principal_name("user", principal)
    secret = TOKEN_PREFIX + secrets.token_hex(24)
    token = Token(uuid.uuid4().hex, principal, digest_of(secret), comment, now_ms())
    database.save_principal(database.principal(principal))
    database.insert_token(token)
    return token, secret
