"""What goes wrong with notebooks that is no error of their own code."""


class NotSupportedHere(Exception):
    """A notebook uses what is to be had in Databricks and not here; the message names it."""


class NotebookExit(BaseException):
    """`dbutils.notebook.exit` was called. No `except Exception` of a notebook catches it."""

    def __init__(self, value: str) -> None:
        super().__init__(value)
        self.value = value
