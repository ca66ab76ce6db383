"""Before there is any endpoint. Runs first: the stack is shared and later suites fill it."""

import pytest

from support.stack import MANAGEMENT, Stack


@pytest.mark.parametrize("path", [MANAGEMENT, f"{MANAGEMENT}/"])
def test_c01_c02_an_empty_list_has_the_key(stack: Stack, path: str) -> None:
    answer = stack.call("GET", path, allow_redirects=False)
    assert answer.status_code == 200
    assert answer.json() == {"endpoints": []}
