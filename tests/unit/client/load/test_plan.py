"""How a load is divided among processes."""

from hypothesis import given
from hypothesis import strategies as st

from penstock.client.load.plan import LoadPlan, shares
from penstock.client.load.target import Target


@given(st.integers(1, 5000), st.none() | st.integers(1, 5000), st.integers(1, 64))
def test_p4_6_processes_do_together_what_was_asked_for(connections: int, requests: int | None, processes: int) -> None:
    plan = LoadPlan(Target("h", 1, "/"), b"", connections, 1.0 if requests is None else None, requests, 1.0)
    parts = shares(plan, processes)
    assert len(parts) <= processes
    assert sum(part.connections for part in parts) == connections
    assert all(part.connections > 0 for part in parts)
    if requests is not None:
        assert sum(part.requests or 0 for part in parts) == requests
        assert all(part.requests for part in parts)
