"""Tables are found where they lie, and nothing else is taken for one."""

from pathlib import Path

from penstock.catalog.warehouse import found_tables


def table(folder: Path) -> Path:
    (folder / "_delta_log").mkdir(parents=True)
    return folder


def test_p5_4_tables_three_folders_deep_are_found_in_order(tmp_path: Path) -> None:
    for name in ("main/default/b", "main/default/a", "System/Access/Audit"):
        table(tmp_path / name)
    assert [(str(t.name), t.path) for t in found_tables(tmp_path)] == [
        ("main.default.a", str(tmp_path / "main/default/a")),
        ("main.default.b", str(tmp_path / "main/default/b")),
        ("system.access.audit", str(tmp_path / "System/Access/Audit")),
    ]


def test_p5_4_what_is_no_table_is_passed_over(tmp_path: Path) -> None:
    warehouse = tmp_path / "warehouse"
    table(warehouse / "main/default/good")
    table(warehouse / "main/default/good/nested")
    table(warehouse / "main/too_high")
    table(warehouse / "main/default/a name with blanks")
    (warehouse / "main/default/empty").mkdir()
    (warehouse / "main/default/file").write_text("")
    (warehouse / "main/file").write_text("")
    (warehouse / "main/default/log_is_a_file").mkdir()
    (warehouse / "main/default/log_is_a_file/_delta_log").write_text("")
    (warehouse / "main/default/link").symlink_to(table(tmp_path / "elsewhere"))
    (warehouse / "linked").symlink_to(tmp_path)
    assert [str(t.name) for t in found_tables(warehouse)] == ["main.default.good"]


def test_p5_4_no_warehouse_holds_nothing(tmp_path: Path) -> None:
    assert found_tables(tmp_path / "nowhere") == []
    (tmp_path / "file").write_text("")
    assert found_tables(tmp_path / "file") == []
