"""Which failures of a fetch are those of a server that may come back."""

import pytest
import requests
from mlflow.exceptions import MlflowException

from penstock.stores.artifacts import is_away


def failed(cause: Exception | None) -> MlflowException:
    """What MLflow's client raises while it handles another error."""
    try:
        try:
            if cause is not None:
                raise cause
        finally:
            raise MlflowException("API request failed")
    except MlflowException as exc:
        return exc


@pytest.mark.parametrize(
    "cause", [requests.ConnectionError(), requests.ReadTimeout(), requests.exceptions.RetryError("too many 503")]
)
def test_a_server_that_does_not_answer_may_come_back(cause: Exception) -> None:
    assert is_away(failed(cause))


@pytest.mark.parametrize("cause", [None, KeyError("x"), requests.exceptions.InvalidURL(), OSError("disk full")])
def test_whatever_else_fails_has_failed(cause: Exception | None) -> None:
    assert not is_away(failed(cause))
