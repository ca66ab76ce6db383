"""Databricks' source format: cells and their languages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.domain.notebook import BadRun, Cell, Language, NotANotebook, RunOf, cells_of, run_of

SOURCE = """# Databricks notebook source
# MAGIC %md
# MAGIC # A title
# MAGIC
# MAGIC text

# COMMAND ----------

# DBTITLE 1,First step
x = 1

y = 2

# COMMAND ----------

# MAGIC %run ./other $day="next friday" $n=3

# COMMAND ----------

# MAGIC %sql
# MAGIC SELECT 1
# MAGIC   AS one

# COMMAND ----------

# COMMAND ----------

# MAGIC %python
# MAGIC z = 3

# COMMAND ----------

# MAGIC %scala
# MAGIC println(1)
"""


def test_p6_5_cells_of_a_notebook() -> None:
    assert cells_of(SOURCE) == [
        Cell(Language.MARKDOWN, "\n# A title\n\ntext", 2),
        Cell(Language.PYTHON, "x = 1\n\ny = 2", 10),
        Cell(Language.RUN, './other $day="next friday" $n=3', 16),
        Cell(Language.SQL, "\nSELECT 1\n  AS one", 20),
        Cell(Language.PYTHON, "\nz = 3", 28),
        Cell("scala", "\nprintln(1)", 33),
    ]


def test_p6_5_what_is_no_notebook() -> None:
    for text in ("", "print(1)\n", "#Databricks notebook source\n", "\n# Databricks notebook source\n"):
        with pytest.raises(NotANotebook):
            cells_of(text)
    assert cells_of("\ufeff# Databricks notebook source\r\nx = 1\r\n") == [Cell(Language.PYTHON, "x = 1", 2)]
    assert cells_of("# Databricks notebook source") == []


def test_p6_5_what_run_asks_for() -> None:
    assert run_of('./other $day="next friday" $n=3') == RunOf("./other", {"day": "next friday", "n": "3"})
    assert run_of("'/a b/c'") == RunOf("/a b/c")
    for wrong in ("", '"open', "./other day=1", "./other $day", "./other $=1"):
        with pytest.raises(BadRun):
            run_of(wrong)


LINES = st.lists(st.sampled_from(["x = 1", "", "  y", "# comment", "# MAGICAL"]), max_size=5)


@given(st.lists(LINES, max_size=6))
def test_p6_5_every_line_of_code_is_in_one_cell_at_its_place(blocks: list[list[str]]) -> None:
    lines = ["# Databricks notebook source"]
    for block in blocks:
        lines += [*block, "", "# COMMAND ----------", ""]
    cells = cells_of("\n".join(lines))
    for cell in cells:
        own = cell.text.split("\n")
        assert lines[cell.line - 1 : cell.line - 1 + len(own)] == own or cell.language != Language.PYTHON
    code = [line for block in blocks for line in block if line]
    assert [line for cell in cells for line in cell.text.split("\n") if line] == code
