"""Addresses, and the bytes of a request."""

import pytest

from penstock.client.load.target import BadUrl, Target, request_bytes, target_of


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("http://127.0.0.1:8080/a/b?c=d", Target("127.0.0.1", 8080, "/a/b?c=d"), "127.0.0.1:8080"),
        ("http://host", Target("host", 80, "/"), "host"),
        ("https://host/x", Target("host", 443, "/x", is_tls=True), "host"),
        ("https://host:80/x", Target("host", 80, "/x", is_tls=True), "host:80"),
        ("http://[::1]:5/x", Target("::1", 5, "/x"), "[::1]:5"),
    ],
)
def test_addresses(url: str, target: Target, authority: str) -> None:
    assert target_of(url) == target
    assert target.authority == authority


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host/x",
        "http://",
        "http:///x",
        "http://host:99999/",
        "http://h/a b",
        "http://h/ä",
        "http://[h",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(BadUrl, match="got"):
        target_of(url)


def test_the_bytes_of_a_request() -> None:
    sent = request_bytes(target_of("http://h:1/x"), b"{}", {"authorization": "Bearer t"})
    assert sent == b"POST /x HTTP/1.1\r\nhost: h:1\r\ncontent-length: 2\r\nauthorization: Bearer t\r\n\r\n{}"
