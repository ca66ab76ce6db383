"""The book of what other gateways hold: it knows what they last said, and nothing that they let go of."""

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.domain.prediction import Api
from penstock.gateway.elsewhere import Elsewhere
from penstock.gateway.resends import body_digest
from penstock.wire.messages import encode_line
from penstock.wire.siblings import Asked, Held, LetGo, changes

ASKED = Asked("ann", "e" * 32, None, Api.INVOCATIONS, b"application/json")
BODIES = (b"one", b"two", b"three")


def held(request_id: str, body: bytes = b"one", asked: Asked = ASKED) -> Held:
    return Held(request_id, asked, len(body), body_digest(body), 10.0, is_idempotent=False)


def test_the_same_request_is_found_at_the_sibling_that_told_of_it() -> None:
    book = Elsewhere()
    book.note("gateway-1", held("r-1"))
    found = book.find(ASKED, b"one")
    assert found is not None
    assert (found.sibling, found.held.request_id) == ("gateway-1", "r-1")
    assert book.find(ASKED, b"two") is None
    assert book.find(ASKED, b"three") is None
    assert book.find(ASKED._replace(principal="bob"), b"one") is None
    assert book.find(ASKED._replace(entity_name="m-1"), b"one") is None


def test_the_first_that_was_told_of_is_found_first() -> None:
    book = Elsewhere()
    for sibling, request_id in (("gateway-2", "r-1"), ("gateway-1", "r-2")):
        book.note(sibling, held(request_id))
    found = [book.find(ASKED, b"one") for _ in range(2)]
    assert [one and one.held.request_id for one in found] == ["r-1", "r-1"], "to be found is not yet to be had"
    book.note("gateway-2", LetGo("r-1"))
    second = book.find(ASKED, b"one")
    assert second is not None
    assert second.held.request_id == "r-2"


def test_what_was_told_anew_is_not_struck_by_who_found_it_before() -> None:
    """A request was too late for it, and meanwhile the one that had it has left as well."""
    book = Elsewhere()
    book.note("gateway-1", held("r-1"))
    found = book.find(ASKED, b"one")
    assert found is not None
    book.note("gateway-1", LetGo("r-1"))
    book.note("gateway-1", held("r-1"))
    book.strike(found)
    assert book.find(ASKED, b"one") is not None


def test_what_is_told_is_read_as_it_was() -> None:
    told = held("r-1", b"\x00\xff", ASKED._replace(entity_name="m-1", api=Api.CHAT, content_type=b"\xe4; x=\x80"))
    for change in (told, held("r-2"), LetGo("r-1")):
        assert changes.decode(encode_line(change)) == change


SIBLINGS = st.sampled_from(["gateway-0", "gateway-1", "gateway-2"])
IDS = st.sampled_from(["r-1", "r-2", "r-3"])
STEPS = st.one_of(
    st.tuples(SIBLINGS, st.builds(held, IDS, st.sampled_from(BODIES))),
    st.tuples(SIBLINGS, st.builds(LetGo, IDS)),
    st.tuples(SIBLINGS, st.none()),
)


@settings(deadline=None, derandomize=True, max_examples=200)
@given(st.lists(STEPS, max_size=40))
def test_whatever_siblings_say_the_book_knows_what_each_holds(steps: list[tuple[str, Held | LetGo | None]]) -> None:
    book = Elsewhere()
    known: dict[tuple[str, str], Held] = {}
    for sibling, change in steps:
        if change is None:
            book.forget(sibling)
            known = {place: one for place, one in known.items() if place[0] != sibling}
            continue
        book.note(sibling, change)
        known.pop((sibling, change.request_id), None)
        if isinstance(change, Held):
            known[sibling, change.request_id] = change
    assert len(book) == len(known)
    for body in BODIES:
        same = [place for place, one in known.items() if one.digest == body_digest(body)]
        found = book.find(ASKED, body)
        assert (found and (found.sibling, found.held.request_id)) == (same[0] if same else None)
