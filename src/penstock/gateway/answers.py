"""Answers of the servers behind the gateway: after a crash of theirs their connection is not used again."""

import aiohttp
from aiohttp.connector import Connection

_SERVER_ERROR = 500


class UpstreamAnswer(aiohttp.ClientResponse):
    """An answer whose connection is not kept if the status is a 5xx.

    A server that crashed on a request closes its connection after the answer, without a word in it. Whoever took that
    connection just then would be told that the server does not answer.
    """

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        """Read the head; a short body may be there with it, and then the connection is already back in the pool."""
        transport, protocol = connection.transport, connection.protocol
        await super().start(connection)
        if self.status >= _SERVER_ERROR:
            if protocol is not None:
                protocol.force_close()
            if transport is not None and self.content.is_eof():
                transport.close()
        return self
