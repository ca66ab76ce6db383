"""Catalogs, schemas and tables by the unmodified SDK, who may see them, and `penstock tables` over a running stack."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
import requests
from databricks.sdk import WorkspaceClient
from databricks.sdk.errors import BadRequest, NotFound, PermissionDenied
from databricks.sdk.errors import NotImplemented as NotImplementedHere
from databricks.sdk.service import catalog as uc
from deltalake import write_deltalake

from support.payload_tables import logged, write_payload
from support.stack import MANAGEMENT, Stack, entity, penstock, refused

SDK = "databricks-sdk"
UC = "/api/2.1/unity-catalog"
TABLES = "/api/2.0/penstock/tables"
client = pytest.mark.client


@pytest.fixture(scope="module")
def owned(stack: Stack) -> Iterator[str]:
    """An endpoint whose payload table, `shop.prod.owned_payload`, has a row; and others in `shop`."""
    warehouse = stack.home / "warehouse"
    row = logged({"dataframe_records": [{"x": 1.5, "n": 2, "s": "a"}]}, [{"s": "a"}])
    write_payload(warehouse / "shop/prod/owned_payload", row)
    kinds = {
        "day": pa.array([None], pa.date32()),
        "at": pa.array([None], pa.timestamp("us", "UTC")),
        "price": pa.array([None], pa.decimal128(12, 2)),
        "tags": pa.array([None], pa.map_(pa.string(), pa.int32())),
        "lines": pa.array([None], pa.list_(pa.struct([("n", pa.int16()), ("ok", pa.bool_())]))),
        "raw": pa.array([None], pa.binary()),
    }
    write_deltalake(str(warehouse / "shop/prod/orders"), pa.table(kinds), partition_by=["day"])
    for number in range(5):
        write_deltalake(str(warehouse / f"shop/many/t{number}"), pa.table({"a": [number]}))
    config = {"enabled": True, "catalog_name": "shop", "schema_name": "prod"}
    body = {
        "name": "owned",
        "config": {"served_entities": [entity()]},
        "ai_gateway": {"inference_table_config": config},
    }
    assert stack.call("POST", MANAGEMENT, body).status_code == 200
    yield stack.wait_ready("owned")["id"]
    stack.call("DELETE", f"{MANAGEMENT}/owned")


@pytest.fixture
def workspace(stack: Stack, owned: str) -> WorkspaceClient:
    return stack.workspace()


@pytest.fixture
def ben(stack: Stack) -> Iterator[WorkspaceClient]:
    """Somebody without any grant."""
    token = stack.call("POST", "/api/2.0/penstock/tokens", {"user": "ben@example.com"}).json()
    yield WorkspaceClient(host=stack.url, token=token["token"])
    stack.call("DELETE", f"/api/2.0/penstock/tokens/{token['id']}")


@client(SDK, "catalogs.list")
@client(SDK, "catalogs.get")
def test_p5_4_catalogs(workspace: WorkspaceClient) -> None:
    assert {"main", "shop"} <= {catalog.name for catalog in workspace.catalogs.list()}
    found = workspace.catalogs.get("shop")
    assert (found.name, found.catalog_type) == ("shop", uc.CatalogType.MANAGED_CATALOG)


@client(SDK, "schemas.list")
@client(SDK, "schemas.get")
def test_p5_4_schemas(workspace: WorkspaceClient) -> None:
    assert [schema.full_name for schema in workspace.schemas.list("shop")] == ["shop.many", "shop.prod"]
    assert workspace.schemas.get("main.default").catalog_name == "main", "without a table too"


@client(SDK, "tables.list")
@client(SDK, "tables.get")
@client(SDK, "tables.exists")
def test_p5_4_tables_and_their_columns(stack: Stack, workspace: WorkspaceClient) -> None:
    assert [table.name for table in workspace.tables.list("shop", "prod")] == ["orders", "owned_payload"]
    table = workspace.tables.get("shop.prod.orders")
    assert (table.table_type, table.data_source_format) == (uc.TableType.MANAGED, uc.DataSourceFormat.DELTA)
    assert table.storage_location == f"file://{stack.home}/warehouse/shop/prod/orders"
    assert [(c.name, c.position, c.type_name and c.type_name.value, c.type_text) for c in table.columns or ()] == [
        ("day", 0, "DATE", "date"),
        ("at", 1, "TIMESTAMP", "timestamp"),
        ("price", 2, "DECIMAL", "decimal(12,2)"),
        ("tags", 3, "MAP", "map<string,int>"),
        ("lines", 4, "ARRAY", "array<struct<n:smallint,ok:boolean>>"),
        ("raw", 5, "BINARY", "binary"),
    ]
    day, _, price, *_ = table.columns or ()
    assert (day.partition_index, day.nullable, price.type_precision, price.type_scale) == (0, True, 12, 2)
    assert json.loads(price.type_json or "") == {
        "name": "price",
        "type": "decimal(12,2)",
        "nullable": True,
        "metadata": {},
    }
    listed = next(iter(workspace.tables.list("shop", "prod")))
    assert listed.columns == table.columns
    assert not any(t.columns for t in workspace.tables.list("shop", "prod", omit_columns=True))
    assert workspace.tables.exists("shop.prod.orders").table_exists
    assert not workspace.tables.exists("shop.prod.nope").table_exists


def test_p5_4_pages(stack: Stack, workspace: WorkspaceClient) -> None:
    names = [f"t{number}" for number in range(5)]
    assert [table.name for table in workspace.tables.list("shop", "many", max_results=2)] == names
    query: dict[str, Any] = {"catalog_name": "shop", "schema_name": "many", "max_results": 2}
    first = stack.call("GET", f"{UC}/tables", params=query).json()
    assert [table["name"] for table in first["tables"]] == names[:2]
    last = stack.call("GET", f"{UC}/tables", params={**query, "max_results": 0}).json()
    assert (len(last["tables"]), last.get("next_page_token")) == (5, None)
    for bad in ({"page_token": "%%"}, {"max_results": 1001}, {"max_results": -1}, {"max_results": "x"}):
        answer = stack.call("GET", f"{UC}/tables", params={**query, **bad})
        refused(answer, 400, "INVALID_PARAMETER_VALUE", next(iter(bad)))
    refused(stack.call("GET", f"{UC}/schemas"), 400, "INVALID_PARAMETER_VALUE", "catalog_name")


def test_p5_4_unknown_names_are_404_with_their_codes(stack: Stack, workspace: WorkspaceClient) -> None:
    cases = [
        ("catalogs/nope", "CATALOG_DOES_NOT_EXIST"),
        ("schemas?catalog_name=nope", "CATALOG_DOES_NOT_EXIST"),
        ("schemas/nope.prod", "CATALOG_DOES_NOT_EXIST"),
        ("schemas/shop.nope", "SCHEMA_DOES_NOT_EXIST"),
        ("tables?catalog_name=shop&schema_name=nope", "SCHEMA_DOES_NOT_EXIST"),
        ("tables/nope.prod.orders", "CATALOG_DOES_NOT_EXIST"),
        ("tables/shop.nope.orders", "SCHEMA_DOES_NOT_EXIST"),
        ("tables/shop.prod.nope", "TABLE_DOES_NOT_EXIST"),
    ]
    for path, code in cases:
        refused(stack.call("GET", f"{UC}/{path}"), 404, code, "does not exist")
    for path in ("tables/orders", "tables/a.b.c.d", "tables/shop..orders", "schemas/shop"):
        refused(stack.call("GET", f"{UC}/{path}"), 400, "INVALID_PARAMETER_VALUE", "full_name")
    with pytest.raises(NotFound, match=r"Table 'shop\.prod\.nope'"):
        workspace.tables.get("shop.prod.nope")


@client(SDK, "catalogs.create", result="501 `NOT_IMPLEMENTED`", instead="a folder below `warehouse`")
@client(SDK, "schemas.create", result="501 `NOT_IMPLEMENTED`", instead="a folder below `warehouse`")
@client(SDK, "tables.delete", result="501 `NOT_IMPLEMENTED`", instead="deleting the table's folder")
def test_p5_4_writes_are_refused_by_name(workspace: WorkspaceClient) -> None:
    writes: list[tuple[str, Callable[[], object]]] = [
        ("Catalogs", lambda: workspace.catalogs.create("new")),
        ("Catalogs", lambda: workspace.catalogs.update("shop", comment="x")),
        ("Catalogs", lambda: workspace.catalogs.delete("shop")),
        ("Schemas", lambda: workspace.schemas.create("new", "shop")),
        ("Schemas", lambda: workspace.schemas.update("shop.prod", comment="x")),
        ("Schemas", lambda: workspace.schemas.delete("shop.prod")),
        ("Tables", lambda: workspace.tables.delete("shop.prod.orders")),
        ("Tables", lambda: workspace.tables.update("shop.prod.orders", owner="x")),
    ]
    for what, write in writes:
        with pytest.raises(NotImplementedHere, match=f"{what} are not created, changed or deleted"):
            write()
    assert workspace.tables.exists("shop.prod.orders").table_exists


def test_p5_4_tables_of_an_endpoint_are_for_those_who_may_see_it(
    stack: Stack, owned: str, ben: WorkspaceClient
) -> None:
    assert [catalog.name for catalog in ben.catalogs.list()] == ["main"]
    with pytest.raises(NotFound):
        ben.tables.get("shop.prod.owned_payload")
    assert ben.api_client.do("GET", TABLES) == {"tables": []}
    grant = [{"user_name": "ben@example.com", "permission_level": "CAN_VIEW"}]
    path = f"/api/2.0/permissions/serving-endpoints/{owned}"
    assert stack.call("PATCH", path, {"access_control_list": grant}).status_code == 200
    assert [table.full_name for table in ben.tables.list("shop", "prod")] == ["shop.prod.owned_payload"]
    names = [table["name"] for table in ben.api_client.do("GET", TABLES)["tables"]]  # type: ignore[index]
    assert names == ["shop.prod.owned_left_out", "shop.prod.owned_payload", "shop.prod.owned_view"]
    with pytest.raises(NotFound):
        ben.tables.get("shop.prod.orders")
    with pytest.raises(PermissionDenied, match="register tables"):
        ben.api_client.do("POST", TABLES, body={"name": "mine", "path": "/etc"})


def test_p5_4_tables_are_registered_by_path(stack: Stack, owned: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("elsewhere") / "a table"
    write_deltalake(str(folder), pa.table({"a": [1, 2]}))

    def tables(*arguments: str) -> Any:
        done = penstock("tables", *arguments, "--json", home=stack.home)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert tables("register", "lab.raw.numbers", str(folder)) == {
        "name": "lab.raw.numbers",
        "kind": "EXTERNAL",
        "path": str(folder),
    }
    shown = tables("show", "lab.raw.numbers")
    assert (shown["path"], shown["version"], shown["rows"]) == (str(folder), 0, 2)
    joined = "SELECT sum(a) AS a, count(DISTINCT n) AS n FROM lab.raw.numbers, shop.prod.owned_view"
    assert tables("sql", joined) == [{"a": 3, "n": 1}]
    assert stack.workspace().tables.get("lab.raw.numbers").table_type is uc.TableType.EXTERNAL
    for name, path, status, code, said in (
        ("lab.raw.numbers", str(folder), 409, "RESOURCE_ALREADY_EXISTS", "exists already"),
        ("shop.prod.orders", str(folder), 409, "RESOURCE_ALREADY_EXISTS", "exists already"),
        ("shop.prod.owned_view", str(folder), 409, "RESOURCE_ALREADY_EXISTS", "exists already"),
        ("a b", str(folder), 400, "INVALID_PARAMETER_VALUE", "name: got 'a b'"),
        ("new", "relative/path", 400, "INVALID_PARAMETER_VALUE", "wanted an absolute path"),
        ("new", "/etc", 400, "INVALID_PARAMETER_VALUE", "no Delta table"),
        ("new", f"{folder}\0", 400, "INVALID_PARAMETER_VALUE", "path"),
    ):
        refused(stack.call("POST", TABLES, {"name": name, "path": path}), status, code, said)
    assert tables("register", "lab.raw.numbers", "--remove") == {"removed": "lab.raw.numbers"}
    again = penstock("tables", "register", "lab.raw.numbers", "--remove", home=stack.home)
    assert (again.returncode, "TABLE_DOES_NOT_EXIST" in again.stderr) == (4, True)
    assert (folder / "_delta_log").is_dir(), "the table stays"


def test_p5_4_columns_of_the_view_are_those_of_the_signature(stack: Stack, owned: str) -> None:
    """The stack tells the signatures of models; a row of an entity that nobody knows is read as all models agree."""
    done = penstock("tables", "sql", "SELECT * FROM shop.prod.owned_view", "--json", home=stack.home)
    (row,) = json.loads(done.stdout)
    assert {name: row[name] for name in "xnstb"} == {"x": 1.5, "n": 2, "s": "a", "t": None, "b": None}
    assert json.loads(row["prediction"]) == {"s": "a"}


def test_p5_4_a_table_that_is_broken_hides_no_other(stack: Stack, workspace: WorkspaceClient) -> None:
    log = stack.home / "warehouse/shop/broken/bad/_delta_log"
    log.mkdir(parents=True)
    (log / "00000000000000000000.json").write_text("{no json")
    write_deltalake(str(stack.home / "warehouse/shop/broken/good"), pa.table({"a": [1]}))
    found = {table.name: table.columns for table in workspace.tables.list("shop", "broken")}
    assert not found["bad"]
    assert len(found["good"] or ()) == 1
    answer = requests.get(f"{stack.url}{UC}/tables/shop.broken.bad", headers=stack.headers, timeout=30)
    refused(answer, 409, "RESOURCE_CONFLICT", "cannot be read")
    with pytest.raises(BadRequest):
        workspace.tables.get("bad")
