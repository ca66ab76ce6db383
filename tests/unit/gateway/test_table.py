"""The table in a gateway: choosing, and what a swap keeps and what it retires."""

from dataclasses import dataclass, field, replace

import pytest

from penstock.domain.access import digest_of
from penstock.domain.errors import BadRequest, ResourceDoesNotExist
from penstock.domain.routing import Access, RoutedEndpoint, RoutedEntity, RoutingTable
from penstock.gateway.table import CurrentTable


@dataclass(eq=False)
class FakeBackend:
    """Remembers what was done to it."""

    entity: RoutedEntity
    is_retired: bool = False
    is_closed: bool = False

    def route(self, entity: RoutedEntity) -> None:
        self.entity = entity

    def retire(self) -> None:
        self.is_retired = True

    async def close(self) -> None:
        self.is_closed = True


@dataclass
class Bench:
    """A table whose backends are played."""

    made: list[FakeBackend] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.table = CurrentTable(self._make)  # type: ignore[arg-type]

    def _make(self, entity: RoutedEntity) -> FakeBackend:
        self.made.append(FakeBackend(entity))
        return self.made[-1]

    def swap(self, *endpoints: RoutedEndpoint, version: int = 1, **access: Access) -> None:
        """Route by these endpoints."""
        self.table.swap(RoutingTable(version, {endpoint.name: endpoint for endpoint in endpoints}, access))


def routed(name: str, percentage: int = 100, deployment: str = "") -> RoutedEntity:
    """An entity with one slot."""
    key = deployment or f"key-{name}"
    return RoutedEntity(name, "1" * 32, key, (f"{key}-0",), percentage, 297.0, 10)


def endpoint(*entities: RoutedEntity, name: str = "x", version: int = 1, reason: str = "") -> RoutedEndpoint:
    """An endpoint of these entities."""
    return RoutedEndpoint("e" * 32, name, version, entities, reason)


def test_a_draw_chooses_by_share() -> None:
    bench = Bench()
    bench.swap(endpoint(routed("a", 0), routed("b", 90), routed("c", 10)))
    target = bench.table.target("x")
    drawn = [target.choose(draw).entity.name for draw in (0.0, 0.8999999, 0.9, 0.9999999)]
    assert drawn == ["b", "b", "c", "c"]


def test_an_entity_without_traffic_can_be_named() -> None:
    bench = Bench()
    bench.swap(endpoint(routed("a", 0), routed("b", 100)))
    assert bench.table.target("x").named("a").entity.name == "a"
    with pytest.raises(ResourceDoesNotExist, match="no served entity 'z'; it has a, b"):
        bench.table.target("x").named("z")


def test_an_endpoint_that_cannot_answer_says_why() -> None:
    bench = Bench()
    bench.swap(endpoint(reason="Endpoint 'x' is stopped."))
    for choose in (lambda t: t.choose(0.5), lambda t: t.named("a")):
        with pytest.raises(BadRequest, match="is stopped"):
            choose(bench.table.target("x"))


def test_an_unknown_endpoint_does_not_exist() -> None:
    with pytest.raises(ResourceDoesNotExist, match="Endpoint with name 'nope' does not exist"):
        Bench().table.target("nope")


def test_before_the_first_table_there_is_no_version() -> None:
    bench = Bench()
    assert bench.table.version is None
    bench.swap(version=7)
    assert bench.table.version == 7


def test_a_swap_keeps_the_backends_of_deployments_in_both_tables() -> None:
    bench = Bench()
    bench.swap(endpoint(routed("a", 90), routed("b", 10)))
    before = [bench.table.target("x").named(name) for name in "ab"]
    changed = replace(routed("a", 10), timeout_s=5.0, queue_size=3)
    bench.swap(endpoint(changed, routed("b", 90), version=2))
    after = [bench.table.target("x").named(name) for name in "ab"]
    assert after == before
    assert after[0].entity == changed
    assert len(bench.made) == 2
    assert not any(backend.is_retired for backend in bench.made)
    assert bench.table.target("x").choose(0.5) is after[1]


def test_a_swap_retires_what_is_routed_to_no_longer() -> None:
    bench = Bench()
    bench.swap(endpoint(routed("a")), endpoint(routed("b"), name="y"))
    old_a, old_b = bench.made
    bench.swap(endpoint(routed("a", deployment="another"), version=2), endpoint(routed("b"), name="y"))
    assert (old_a.is_retired, old_b.is_retired) == (True, False)
    assert bench.table.target("x").named("a") is not old_a
    bench.swap()
    assert all(backend.is_retired for backend in bench.made)


def test_a_deployment_that_comes_back_gets_a_backend_that_is_not_retired() -> None:
    bench = Bench()
    bench.swap(endpoint(routed("a")))
    bench.swap()
    bench.swap(endpoint(routed("a")))
    first, second = bench.made
    assert first.is_retired
    assert bench.table.target("x").choose(0) is second
    assert not second.is_retired


def test_tokens_are_looked_up_by_digest_and_forgotten_with_the_table() -> None:
    bench = Bench()
    bench.swap(**{digest_of("pst_secret"): Access("ann")})
    assert bench.table.access_of("pst_secret") == Access("ann")
    assert bench.table.access_of("pst_other") is None
    assert bench.table.access_of(digest_of("pst_secret")) is None
    bench.swap()
    assert bench.table.access_of("pst_secret") is None
