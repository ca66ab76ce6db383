"""Why a model could not be loaded, in a line."""

import pytest

from penstock.flavors.pyfunc import one_line, root_cause


def raised(*steps: tuple[type[Exception], str, str]) -> BaseException:
    """An exception raised in steps: each is a type, a text, and how it was raised on top of the one before."""
    try:
        kind, text, how = steps[-1]
        if len(steps) == 1:
            raise kind(text)
        try:
            raise raised(*steps[:-1])
        except Exception as inner:
            match how:
                case "from":
                    raise kind(text) from inner
                case "hiding":
                    raise kind(text) from None
                case _:
                    raise kind(text)  # noqa: B904 - this is the case under test
    except Exception as error:  # noqa: BLE001
        return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (raised((ValueError, "boom", "")), "ValueError: boom"),
        (raised((ValueError, "boom", ""), (RuntimeError, "wrapped", "from")), "ValueError: boom"),
        (raised((ValueError, "boom", ""), (RuntimeError, "while handling", "in")), "ValueError: boom"),
        (raised((ValueError, "boom", ""), (RuntimeError, "all there is", "hiding")), "RuntimeError: all there is"),
        (raised((KeyError, "a", ""), (ValueError, "b", "in"), (RuntimeError, "c", "from")), "KeyError: 'a'"),
        (raised((KeyError, "a", ""), (ValueError, "b", "hiding"), (RuntimeError, "c", "from")), "ValueError: b"),
        (ModuleNotFoundError("No module named 'x'"), "ModuleNotFoundError: No module named 'x'"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_innermost_cause_is_told_with_its_type(error: BaseException, told: str) -> None:
    assert one_line(root_cause(error)) == told


@pytest.mark.timeout(5)
def test_an_exception_that_is_its_own_cause_comes_to_an_end() -> None:
    error = ValueError("boom")
    error.__cause__ = error
    assert root_cause(error) is error


def test_a_cause_of_many_lines_is_told_in_one() -> None:
    assert "\n" not in one_line(ValueError("first\nsecond"))
