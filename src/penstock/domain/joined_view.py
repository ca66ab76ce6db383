"""The view that shows predictions beside what was told of them, as SQL."""

_TOLD = ("label", "rating", "value", "comment")
_OF_EACH = ("feedback_time", "feedback_id", "row_position", *_TOLD, "author", "reviewer", "observed_time")


def joined_view(rows: str, feedback: str) -> str:
    """A SELECT for DuckDB: each row that was predicted, with what was told of it.

    Of several labels, ratings, values or comments the one told last counts, each for itself; who told a label, and for
    when, goes with the label. Without any they are null. What came twice under one id counts once.

    Args:
        rows: what has a row for each row that was predicted, in SQL: with `databricks_request_id`, `client_request_id`,
            and `position` of the row in its request.
        feedback: what has the rows of the feedback table, in SQL.
    """
    last = {name: f"list_filter(_told, lambda t: t.{name} IS NOT NULL)[-1]" for name in _TOLD}
    shown = [
        *(f"{last[name]}.{name} AS feedback_{name}" for name in _TOLD),
        f"coalesce({last['label']}.reviewer, {last['label']}.author) AS feedback_label_by",
        f"coalesce({last['label']}.observed_time, {last['label']}.feedback_time) AS feedback_label_time",
        "_told[-1].feedback_time AS feedback_time",
        "len(_told) AS feedback_count",
    ]
    own = "lambda t: t.row_position IS NULL OR t.row_position = p.position"
    return (
        f"SELECT * EXCLUDE (_told), {', '.join(shown)} FROM ("  # noqa: S608 - names of ours
        f"SELECT p.*, list_filter(list_sort(list_concat(r._told, c._told)), {own}) AS _told FROM {rows} AS p "
        f"LEFT JOIN ({_told_by('databricks_request_id', feedback)}) AS r USING (databricks_request_id) "
        f"LEFT JOIN ({_told_by('client_request_id', feedback)}) AS c USING (client_request_id))"
    )


def _told_by(key: str, feedback: str) -> str:
    """All that was told under each id of this kind."""
    each = ", ".join(f"{name} := {name}" for name in _OF_EACH)
    return (
        f"SELECT {key}, list(told) AS _told FROM ("  # noqa: S608 - names of ours
        f"SELECT DISTINCT ON (feedback_id) {key}, struct_pack({each}) AS told FROM {feedback} WHERE {key} IS NOT NULL"
        f") GROUP BY {key}"
    )
