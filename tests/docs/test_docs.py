"""The documentation says what the code does: every command, setting, route and frame is in it, and no link is dead."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import typer.main
from databricks.sdk.mixins.jobs import JobsExt
from databricks.sdk.mixins.open_ai_client import ServingEndpointsExt
from mlflow.deployments.databricks import DatabricksDeploymentClient
from typer.core import TyperGroup

from penstock.api.app import make_app
from penstock.cli.main import app as cli
from penstock.domain.errors import PenstockError
from penstock.domain.events import EventKind
from penstock.settings import Settings
from penstock.wire.frames import FrameType
from support import compatibility

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md")]
ROW = re.compile(r"^\| c(\d+) \|.*?\| (works|stored only|later) \|", re.MULTILINE)


def text(page: str) -> str:
    return (DOCS / page).read_text()


def commands(group: TyperGroup, prefix: str) -> Iterator[tuple[str, list[str]]]:
    for name, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", [o for p in command.params for o in p.opts if o.startswith("--")]


def test_every_command_and_option_is_documented() -> None:
    page = text("reference/cli.md")
    group = typer.main.get_command(cli)
    assert isinstance(group, TyperGroup)
    for command, options in commands(group, "penstock"):
        assert command in page, command
        for option in set(options) - {"--help", "--install-completion", "--show-completion"}:
            assert option in page, f"{command} {option}"


def test_every_setting_is_documented() -> None:
    page = text("reference/settings.md")
    source = (ROOT / "src/penstock/settings.py").read_text()
    for name in set(re.findall(r"PENSTOCK_[A-Z_]+[A-Z]", source)):
        assert name in page, name
    for field in fields(Settings):
        assert re.search(rf"^    {field.name}: .*\n    \"\"\"", source, re.MULTILINE), f"{field.name} has no docstring"


def test_every_route_is_documented() -> None:
    page = text("reference/rest.md")
    paths = make_app(lambda _: None).openapi()["paths"]  # type: ignore[arg-type, return-value]
    assert len(paths) >= 8
    for path, methods in paths.items():
        rest = re.sub(r"^/api/2.[02]/(permissions/)?(serving-endpoints|penstock|jobs)", "", path) or "/"
        for method in methods:
            forms = (f"{method.upper()} {path}", f"{method.upper()} {rest}", f"…/{rest.rsplit('/', 1)[-1]}")
            assert any(form in page for form in forms), f"{method} {path}"


def test_every_error_code_is_documented() -> None:
    page = text("reference/rest.md")
    kinds = [PenstockError]
    for kind in kinds:
        kinds += kind.__subclasses__()
        assert kind.error_code in page, kind


def test_every_kind_of_event_is_documented() -> None:
    page = text("reference/rest.md")
    for kind in EventKind:
        assert f"`{kind}`" in page, kind


def test_every_frame_type_is_documented() -> None:
    page = text("frame-protocol.md")
    for frame_type in FrameType:
        assert re.search(rf"\b{frame_type.name}\b", page)


def test_links_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not target.startswith(("http://", "https://")):
                assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} -> {target}"


def test_source_files_that_are_named_exist() -> None:
    package = ROOT / "src/penstock"
    for page in PAGES:
        for name in re.findall(r"`((?:[a-z_]+/)+[a-z_]+\.py)`", page.read_text()):
            assert any((base / name).exists() for base in (package, ROOT)), f"{page.relative_to(ROOT)}: {name}"


def test_functions_that_the_flows_name_exist() -> None:
    package = ROOT / "src/penstock"
    for name, functions in re.findall(
        r"`((?:[a-z_]+/)+[a-z_]+\.py)` ((?:`[A-Za-z_.]+`(?:, )?)+)", text("architecture.md")
    ):
        source = (package / name).read_text()
        for function in re.findall(r"`([A-Za-z_.]+)`", functions):
            last = function.rsplit(".", 1)[-1]
            assert re.search(rf"\b(def|class) {last}\b|^{last}\b", source, re.MULTILINE), f"{name}: {function}"


def test_every_item_of_the_contract_has_one_row() -> None:
    assert [int(number) for number, _ in ROW.findall(text("compatibility.md"))] == list(range(1, 91))


@pytest.mark.parametrize("number", range(1, 91))
def test_works_means_that_a_test_bears_the_number(number: int) -> None:
    state = {int(n): s for n, s in ROW.findall(text("compatibility.md"))}[number]
    sources = [file.read_text() for folder in ("contract", "e2e") for file in (ROOT / "tests" / folder).glob("*.py")]
    bears = any(re.search(rf"^def test_(c\d+_)*c{number:02d}_", source, re.MULTILINE) for source in sources)
    assert bears == (state != "later"), f"c{number} is said to be {state!r}"


def test_the_table_of_clients_is_what_the_tests_say() -> None:
    page = text("compatibility.md")
    assert page == compatibility.written(page), "write it anew: python tests/support/compatibility.py"


@pytest.mark.parametrize(
    ("client", "prefix", "surface"),
    [
        ("databricks-sdk", "serving_endpoints.", ServingEndpointsExt),
        ("databricks-sdk", "jobs.", JobsExt),
        ("mlflow.deployments", "", DatabricksDeploymentClient),
    ],
)
def test_every_public_operation_of_a_client_is_in_the_table(client: str, prefix: str, surface: type) -> None:
    shown = " ".join(row.name for row in compatibility.operations() if row.client == client)
    public = [name for name, _ in inspect.getmembers(surface, inspect.isfunction) if not name.startswith("_")]
    assert [name for name in public if not re.search(rf"\b{re.escape(prefix + name)}\b", shown)] == []


def test_adrs_are_numbered_and_have_their_parts() -> None:
    records = sorted((DOCS / "adr").glob("*.md"))
    assert [int(r.name[:4]) for r in records] == list(range(1, len(records) + 1))
    for record in records:
        for part in ("## Context", "## Decision", "## Consequences"):
            assert part in record.read_text(), record.name


def test_the_readme_begins_with_its_two_lines() -> None:
    first_block = (ROOT / "README.md").read_text().split("```sh\n", 1)[1].split("```", 1)[0]
    assert first_block == (
        "python3 -m venv .venv && .venv/bin/pip install . && .venv/bin/penstock quickstart --exit\n"
        ".venv/bin/pip install '.[test]' && .venv/bin/python -m pytest\n"
    )
