"""What a cookie alone may ask for, and how many sessions a principal has."""

import pytest

from penstock.domain.sessions import MAX_SESSIONS, cookie_covers, cookie_name, may_log_in_from, surplus


@pytest.mark.parametrize(
    ("method", "site", "mode", "expected"),
    [
        ("GET", "same-origin", "cors", True),
        ("GET", "none", "navigate", True),
        ("GET", "cross-site", "navigate", True),
        ("GET", "same-site", "navigate", True),
        ("GET", None, None, True),
        ("HEAD", None, None, True),
        ("OPTIONS", "same-origin", "cors", True),
        ("GET", "cross-site", "cors", False),
        ("GET", "cross-site", "no-cors", False),
        ("GET", "cross-site", None, False),
        ("GET", "same-site", "cors", False),
        ("HEAD", "cross-site", "no-cors", False),
        ("POST", "same-origin", "cors", True),
        ("POST", "same-origin", "navigate", True),
        ("DELETE", "same-origin", None, True),
        ("POST", None, None, False),
        ("POST", "none", "navigate", False),
        ("POST", "same-site", "cors", False),
        ("POST", "cross-site", "navigate", False),
        ("PUT", "Same-Origin", "cors", False),
        ("PATCH", "cross-site", "cors", False),
        ("DELETE", "", None, False),
        ("PROPFIND", None, None, False),
    ],
)
def test_what_a_cookie_alone_may_ask_for(method: str, site: str | None, mode: str | None, expected: bool) -> None:
    assert cookie_covers(method, site, mode) is expected


@pytest.mark.parametrize(
    ("site", "expected"),
    [(None, True), ("same-origin", True), ("none", True), ("same-site", False), ("cross-site", False)],
)
def test_the_form_is_not_sent_by_pages_of_others(site: str | None, expected: bool) -> None:
    assert may_log_in_from(site) is expected


def test_the_oldest_go_first_and_only_as_many_as_must() -> None:
    digests = [str(number) for number in range(MAX_SESSIONS + 1)]
    assert surplus(digests[: MAX_SESSIONS - 1]) == []
    assert surplus(digests[:MAX_SESSIONS]) == ["0"]
    assert surplus(digests) == ["0", "1"]


def test_under_tls_no_other_host_can_set_the_cookie() -> None:
    assert cookie_name(is_secure=True) == "__Host-" + cookie_name(is_secure=False)
