"""Log-ins: what opens a session, for how long, and what ends it."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from penstock.control.sessions import Sessions
from penstock.domain.access import Token, digest_of
from penstock.domain.errors import TemporarilyUnavailable, Unauthenticated
from penstock.domain.sessions import LOGIN_CODE_LIFETIME_MS, MAX_SESSIONS, SESSION_LIFETIME_MS
from penstock.stores.database import Database

ANN = digest_of("pst_ann")
BOB = digest_of("pst_bob")


@dataclass
class FakePublisher:
    """Knows what was stored whenever it was asked to tell the gateways."""

    database: Database
    answers: bool = True
    told: list[set[str]] = field(default_factory=list)

    async def publish_and_settle(self) -> bool:
        self.told.append({session.digest for session in self.database.sessions()})
        return self.answers


@dataclass
class Bench:
    """Sessions over a real database, with a clock of their own."""

    database: Database
    now_ms: int = 1_000_000

    def __post_init__(self) -> None:
        self.publisher = FakePublisher(self.database)
        self.sessions = Sessions(self.database, self.publisher, lambda: self.now_ms)  # type: ignore[arg-type]

    def log_in(self, token: str) -> str:
        return asyncio.run(self.sessions.begin_by_token(token))

    def redeem(self, code: str) -> str:
        return asyncio.run(self.sessions.begin_by_code(code))

    def who(self, session_id: str) -> str | None:
        session = self.sessions.of_credential(digest_of(session_id))
        return session.principal if session else None


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = Database.open(f"sqlite:///{tmp_path / 'penstock.db'}")
    database.insert_token(Token("1", "ann", ANN))
    database.insert_token(Token("2", "bob", BOB))
    yield Bench(database)
    database.close()


def test_a_token_opens_a_session_that_gateways_know_before_the_browser_does(bench: Bench) -> None:
    session_id = bench.log_in("pst_ann")
    assert bench.who(session_id) == "ann"
    assert bench.publisher.told == [{digest_of(session_id)}]
    assert session_id not in str(bench.database.sessions())


@pytest.mark.parametrize("token", ["", "pst_other", ANN])
def test_what_is_no_token_opens_nothing(bench: Bench, token: str) -> None:
    with pytest.raises(Unauthenticated, match="unknown"):
        bench.log_in(token)
    assert bench.database.sessions() == []
    assert bench.publisher.told == []


def test_a_session_ends_with_its_time_and_is_cleared_away_by_the_next(bench: Bench) -> None:
    session_id = bench.log_in("pst_ann")
    bench.now_ms += SESSION_LIFETIME_MS - 1
    assert bench.who(session_id) == "ann"
    bench.now_ms += 1
    assert bench.who(session_id) is None
    bench.log_in("pst_bob")
    assert [session.principal for session in bench.database.sessions()] == ["bob"]


def test_a_session_ends_with_the_token_that_it_was_made_from(bench: Bench) -> None:
    anns, bobs = bench.log_in("pst_ann"), bench.log_in("pst_bob")
    bench.database.delete_token("1")
    assert (bench.who(anns), bench.who(bobs)) == (None, "bob")


def test_a_log_out_ends_one_session(bench: Bench) -> None:
    first, second = bench.log_in("pst_ann"), bench.log_in("pst_ann")
    asyncio.run(bench.sessions.end(digest_of(first)))
    assert (bench.who(first), bench.who(second)) == (None, "ann")
    assert bench.publisher.told[-1] == {digest_of(second)}


def test_a_log_out_that_a_gateway_has_not_confirmed_says_so(bench: Bench) -> None:
    session_id = bench.log_in("pst_ann")
    bench.publisher.answers = False
    with pytest.raises(TemporarilyUnavailable, match="logged out"):
        asyncio.run(bench.sessions.end(digest_of(session_id)))
    assert bench.who(session_id) is None


def test_beyond_the_bound_the_oldest_session_of_the_same_principal_goes(bench: Bench) -> None:
    bobs = bench.log_in("pst_bob")
    own = []
    for _ in range(MAX_SESSIONS + 2):
        bench.now_ms += 1
        own.append(bench.log_in("pst_ann"))
    assert [bench.who(session_id) for session_id in own] == [None, None] + ["ann"] * MAX_SESSIONS
    assert bench.who(bobs) == "bob"


def test_a_code_works_once(bench: Bench) -> None:
    _, code = bench.sessions.make_code("ann", ANN)
    assert bench.who(bench.redeem(code)) == "ann"
    with pytest.raises(Unauthenticated, match="used already"):
        bench.redeem(code)


def test_a_code_gets_too_old(bench: Bench) -> None:
    code, secret = bench.sessions.make_code("ann", ANN)
    assert code.expires_at_ms == bench.now_ms + LOGIN_CODE_LIFETIME_MS
    bench.now_ms += LOGIN_CODE_LIFETIME_MS
    with pytest.raises(Unauthenticated, match="too old"):
        bench.redeem(secret)


def test_a_code_is_worth_nothing_once_its_token_is_revoked(bench: Bench) -> None:
    _, code = bench.sessions.make_code("ann", ANN)
    bench.database.delete_token("1")
    with pytest.raises(Unauthenticated, match="revoked"):
        bench.redeem(code)
    assert bench.database.sessions() == []


def test_a_code_made_in_a_session_hangs_on_the_session_s_token(bench: Bench) -> None:
    session_id = bench.log_in("pst_ann")
    _, code = bench.sessions.make_code("ann", digest_of(session_id))
    other = bench.redeem(code)
    assert bench.who(other) == "ann"
    bench.database.delete_token("1")
    assert bench.who(other) is None


def test_a_credential_that_has_ended_makes_no_code(bench: Bench) -> None:
    session_id = bench.log_in("pst_ann")
    bench.now_ms += SESSION_LIFETIME_MS
    with pytest.raises(Unauthenticated, match="ended"):
        bench.sessions.make_code("ann", digest_of(session_id))


def test_beyond_the_bound_the_oldest_code_of_the_same_principal_goes(bench: Bench) -> None:
    _, bobs = bench.sessions.make_code("bob", BOB)
    codes = [bench.sessions.make_code("ann", ANN)[1] for _ in range(MAX_SESSIONS + 1)]
    with pytest.raises(Unauthenticated):
        bench.redeem(codes[0])
    assert bench.who(bench.redeem(codes[1])) == "ann"
    assert bench.who(bench.redeem(bobs)) == "bob"
