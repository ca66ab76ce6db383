"""What a request shows to say who asks."""

import base64

import pytest

from penstock.domain.access import digest_of
from penstock.domain.routing import Access
from penstock.gateway.credentials import Caller, token_of, without_session


def basic(credentials: bytes) -> bytes:
    """The header of Basic authentication."""
    return b"Basic " + base64.b64encode(credentials)


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        (b"Bearer pst_x", "pst_x"),
        (b"bearer  pst_x ", "pst_x"),
        (b"BEARER pst_x", "pst_x"),
        (b"Bearer", None),
        (b"Bearer ", None),
        (b"", None),
        (b"pst_x", None),
        (b"Digest pst_x", None),
        (basic(b"token:pst_x"), "pst_x"),
        (basic(b":pst_x"), "pst_x"),
        (basic(b"user:pst:x"), "pst:x"),
        (basic(b"pst_x"), None),
        (basic(b"user:"), None),
        (b"basic " + base64.b64encode(b"u:pst_x"), "pst_x"),
        (b"Basic", None),
        (b"Basic !!!", None),
        (b"Basic YQ", None),
        (b"Basic \xe9\xff", None),
        (b"\xff\xfe", None),
    ],
)
def test_the_token_of_an_authorization_header(header: bytes | None, token: str | None) -> None:
    assert token_of(header) == token


def test_bytes_that_are_no_text_give_a_token_that_is_merely_unknown() -> None:
    for header in (b"Bearer \xff", basic(b"u:\xff\xfe")):
        token = token_of(header)
        assert token is not None
        assert len(digest_of(token)) == 64


@pytest.mark.parametrize(
    ("cookies", "passed"),
    [
        (b"penstock_session=x", b""),
        (b"a=1; penstock_session=x; b=2", b"a=1; b=2"),
        (b" __Host-penstock_session = x;a=1", b"a=1"),
        (b"my_penstock_session=1", b"my_penstock_session=1"),
        (b"a=penstock_session=1", b"a=penstock_session=1"),
    ],
)
def test_the_servers_behind_us_do_not_see_the_session(cookies: bytes, passed: bytes) -> None:
    assert without_session(cookies) == passed


def test_a_caller_in_a_log_shows_no_secret() -> None:
    assert "pst_x" not in repr(Caller(Access("ann"), "pst_x"))
