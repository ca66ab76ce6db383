"""A running stack as a source of tables: asked over its API, it shows what the token may see."""

from penstock.client.api import ApiClient
from penstock.domain.catalog import Table
from penstock.domain.signature import Signature
from penstock.domain.table_name import TableName
from penstock.wire.tables import TABLES, decode_models, decode_table, table_path


class StackSource:
    """The tables of the stack that a client reaches. Delta tables are read from its disk, which must be ours too."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api

    def tables(self) -> list[Table]:
        """All tables and views that the token may see, by name."""
        return [decode_table(document) for document in self._api.call("GET", TABLES)["tables"]]

    def models(self, payload: TableName) -> dict[str, Signature]:
        """The signatures of models that a payload table tells of, the newest first."""
        return decode_models(self._api.call("GET", table_path(str(payload)))["models"])
