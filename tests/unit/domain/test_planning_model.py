"""A small world around `plan`: replicas that start, fail and die, gateways that lag, users who change their minds.

Whatever happens in it, in whatever order, no request may be sent to a replica that was told to stop, and once the
world calms down the endpoint comes to rest.
"""

from dataclasses import dataclass, field, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from penstock.domain.endpoint import (
    ConfigUpdate,
    Endpoint,
    EndpointConfig,
    begin_update,
    check_config,
    checks_of,
    complete,
    fail,
    is_ready,
    stop,
    switch,
)
from penstock.domain.planning import (
    Action,
    CompleteUpdate,
    FailUpdate,
    RestReplica,
    Routing,
    StartReplica,
    StopReplica,
    SwitchTraffic,
    plan,
)
from penstock.domain.replica import Replica, ReplicaState
from penstock.domain.routing import RoutingTable, build_table, succeed
from penstock.domain.scaling import sizing_bounds
from penstock.domain.sizing import Sizing, WorkloadSize
from penstock.domain.traffic import Route
from unit.builders import CHECK, LIMITS, empty_endpoint, entity, specs_of

LARGE = Sizing(WorkloadSize.LARGE)
SLEEPY = Sizing(None, scale_to_zero=True, min_concurrency=4, max_concurrency=8)
ANSWERING = {ReplicaState.READY, ReplicaState.ASLEEP}
BROKEN = "9"
"""A version of the model that never loads."""

CONFIGS = {
    "a1": ((entity("1"),), (Route("m-1", 100),)),
    "a2": ((entity("2"),), (Route("m-2", 100),)),
    "a1 large": ((entity("1", sizing=LARGE),), (Route("m-1", 100),)),
    "a1 sleepy": ((entity("1", sizing=SLEEPY),), (Route("m-1", 100),)),
    "a2 sleepy": ((entity("2", sizing=SLEEPY),), (Route("m-2", 100),)),
    "split 90": ((entity("1"), entity("2")), (Route("m-1", 90), Route("m-2", 10))),
    "split 0": ((entity("1"), entity("2")), (Route("m-1", 0), Route("m-2", 100))),
    "broken": ((entity("1"), entity(BROKEN)), (Route("m-1", 100), Route(f"m-{BROKEN}", 0))),
}


@dataclass
class Gateway:
    """A gateway: the table it routes by, and whether the control plane knows that it does."""

    table: RoutingTable
    has_acknowledged: bool = False


@dataclass
class World:
    """All that the control plane would see and change."""

    endpoint: Endpoint | None = None
    replicas: dict[str, Replica] = field(default_factory=dict)
    gateways: list[Gateway] = field(default_factory=list)
    table: RoutingTable = field(default_factory=RoutingTable)
    scales: dict[str, int] = field(default_factory=dict)
    now_ms: int = 0

    def publish(self) -> None:
        """A new table: nobody has acknowledged it yet."""
        endpoints = [self.endpoint] if self.endpoint is not None else []
        self.table = succeed(self.table, build_table(endpoints, [], {}, LIMITS, self.scales))

    def routing(self) -> Routing:
        """As the publisher tells it."""
        settled = all(g.has_acknowledged and g.table.version == self.table.version for g in self.gateways)
        return Routing(self.table.slots(), self.table.sleeping_slots(), settled)

    def plan(self) -> tuple[Action, ...]:
        """What is to be done now; a replica that a request has woken is counted on first, as the autoscaler does."""
        for replica in self.replicas.values():
            if replica.was_woken and self.scales.get(replica.spec.deployment) == 0:
                self.scales[replica.spec.deployment] = 1
                self.publish()
        return plan(self.endpoint, list(self.replicas.values()), self.routing(), self.now_ms, LIMITS, self.scales)

    def is_ready(self, config: EndpointConfig | None) -> bool:
        """Whether every replica of a config is ready."""
        assert self.endpoint is not None
        slots = [spec.slot for spec in specs_of(self.endpoint, config, scales=self.scales)]
        return all(s in self.replicas and self.replicas[s].state in ANSWERING for s in slots)

    def act(self, action: Action) -> None:
        """Carry an action out, and check that it does no harm."""
        match action:
            case StartReplica(spec=spec, is_asleep=is_asleep) if spec.slot in self.replicas:
                replica = self.replicas[spec.slot]
                assert not is_asleep
                assert replica.was_woken or replica.state is ReplicaState.ASLEEP, "a slot holds one replica at a time"
                state = ReplicaState.STARTING if replica.state is ReplicaState.ASLEEP else replica.state
                self.replicas[spec.slot] = replace(replica, state=state, was_woken=False)
            case StartReplica(spec=spec, is_asleep=is_asleep):
                self.replicas[spec.slot] = Replica(spec, ReplicaState.ASLEEP if is_asleep else ReplicaState.STARTING)
            case RestReplica(slot=slot):
                for table in (self.table, *(gateway.table for gateway in self.gateways)):
                    assert slot not in table.slots() - table.sleeping_slots(), "a gateway counts on it"
                self.replicas[slot] = replace(
                    self.replicas[slot], state=ReplicaState.ASLEEP, deaths=0, load_failed=False
                )
            case StopReplica(slot=slot):
                self._check_stop(slot)
                self.replicas[slot] = replace(self.replicas[slot], state=ReplicaState.DRAINING)
            case SwitchTraffic():
                assert self.endpoint is not None
                assert self.is_ready(self.endpoint.pending), "traffic goes to ready replicas only"
                self.endpoint = switch(self.endpoint, checks_of(self.endpoint, self.replicas.values()))
                self.publish()
            case CompleteUpdate():
                assert self.endpoint is not None
                assert self.endpoint.pending is not None
                for gateway in self.gateways:
                    routed = gateway.table.endpoints[self.endpoint.name]
                    assert routed.config_version == self.endpoint.pending.version, "a gateway routes by another config"
                self.endpoint = complete(self.endpoint)
                self.publish()
            case FailUpdate(failures=failures):
                assert self.endpoint is not None
                assert failures
                self.endpoint = fail(self.endpoint, failures)
                self.publish()

    def _check_stop(self, slot: str) -> None:
        assert self.replicas[slot].state is not ReplicaState.DRAINING, "it was told to stop already"
        assert slot not in self.table.slots(), "the newest table routes to it"
        for gateway in self.gateways:
            assert slot not in gateway.table.slots(), "a gateway still routes to it"
        if self.endpoint is not None and self.endpoint.active is not None and not self.endpoint.stopped:
            own = {spec.slot for spec in specs_of(self.endpoint, self.endpoint.active, scales=self.scales)}
            assert slot not in own, "the active config needs it"
        pending = self.endpoint.pending if self.endpoint is not None else None
        if self.endpoint is not None and pending is not None and self.endpoint.update is ConfigUpdate.IN_PROGRESS:
            own = {spec.slot for spec in specs_of(self.endpoint, pending, scales=self.scales)}
            assert slot not in own or self._is_left_over(slot, pending), "the pending config needs it"

    def _is_left_over(self, slot: str, pending: EndpointConfig) -> bool:
        """Whether a slot holds the failure of an earlier attempt, which must make room for the new one."""
        replica = self.replicas[slot]
        return (
            replica.has_failed_to_deploy
            and replica.state is not ReplicaState.READY
            and replica.spec.config_version < pending.version
        )


class PlanningModel(RuleBasedStateMachine):
    """What may happen, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.made = 0

    @initialize(gateways=st.integers(1, 3))
    def begin(self, gateways: int) -> None:
        self.world.gateways = [Gateway(RoutingTable()) for _ in range(gateways)]
        self.create()

    @precondition(lambda self: self.world.endpoint is None)
    @rule()
    def create(self) -> None:
        self.made += 1
        self.world.endpoint = replace(empty_endpoint(), id=f"{self.made:032x}")
        self.world.publish()

    @precondition(lambda self: self.world.endpoint is not None)
    @rule(name=st.sampled_from(sorted(CONFIGS)))
    def put_config(self, name: str) -> None:
        world = self.world
        if world.endpoint is not None and world.endpoint.update is not ConfigUpdate.IN_PROGRESS:
            entities, routes = CONFIGS[name]
            routes = check_config(entities, routes)
            world.endpoint = begin_update(world.endpoint, entities, routes, world.now_ms)
            world.publish()

    @precondition(lambda self: self.world.endpoint is not None and self.world.endpoint.active is not None)
    @rule()
    def stop_or_start(self) -> None:
        world = self.world
        endpoint = world.endpoint
        if endpoint is None or endpoint.active is None or endpoint.update is ConfigUpdate.IN_PROGRESS:
            return
        if endpoint.stopped:
            world.endpoint = begin_update(endpoint, endpoint.active.entities, endpoint.active.routes, world.now_ms)
        else:
            world.endpoint = stop(endpoint, world.now_ms)
        world.publish()

    @precondition(lambda self: self.world.endpoint is not None)
    @rule(is_meant=st.sampled_from([False, False, False, True]))
    def delete(self, is_meant: bool) -> None:
        if is_meant:
            self.world.endpoint = None
            self.world.publish()

    @rule(rounds=st.integers(1, 3))
    def reconcile(self, rounds: int) -> None:
        for _ in range(rounds):
            for action in self.world.plan():
                self.world.act(action)

    @precondition(lambda self: self.world.replicas)
    @rule(data=st.data(), event=st.sampled_from(["ready", "ready", "ready", "die", "load_failed", "gone"]))
    def something_happens_to_a_replica(self, data: st.DataObject, event: str) -> None:
        slot = data.draw(st.sampled_from(sorted(self.world.replicas)))
        self.happen(slot, event)

    def happen(self, slot: str, event: str) -> None:
        replica = self.world.replicas[slot]
        if replica.state is ReplicaState.ASLEEP:
            return
        if replica.state is ReplicaState.DRAINING:
            if event in {"gone", "die"}:
                del self.world.replicas[slot]
            return
        is_broken = replica.spec.model.version == BROKEN
        match event:
            case "ready" if replica.state is ReplicaState.STARTING and not is_broken:
                changed = replace(replica, state=ReplicaState.READY, load_failed=False, message="", check=CHECK)
            case "ready" if replica.state is ReplicaState.RESTARTING:
                changed = replace(replica, state=ReplicaState.STARTING)
            case "load_failed" | "ready" if replica.state is ReplicaState.STARTING:
                changed = self.dead(replica, load_failed=True)
            case "die":
                changed = self.dead(replica, load_failed=False)
            case _:
                return
        self.world.replicas[slot] = changed

    @staticmethod
    def dead(replica: Replica, *, load_failed: bool) -> Replica:
        return replace(
            replica,
            state=ReplicaState.RESTARTING,
            load_failed=load_failed,
            deaths=replica.deaths + 1,
            message="it died",
        )

    @rule(data=st.data(), replicas=st.integers(0, 3))
    def the_autoscaler_decides(self, data: st.DataObject, replicas: int) -> None:
        world = self.world
        if world.endpoint is not None and world.endpoint.routed is not None:
            entity = data.draw(st.sampled_from(world.endpoint.routed.entities))
            world.scales[entity.deployment_key(world.endpoint.id)] = sizing_bounds(entity.sizing, LIMITS).clamp(
                replicas
            )
            world.publish()

    @rule(data=st.data())
    def a_request_comes_to_a_replica_at_zero(self, data: st.DataObject) -> None:
        gateway = data.draw(st.sampled_from(self.world.gateways))
        for slot in gateway.table.slots():
            replica = self.world.replicas.get(slot)
            if replica is not None and replica.state is ReplicaState.ASLEEP:
                self.world.replicas[slot] = replace(replica, state=ReplicaState.STARTING, was_woken=True)

    @rule(data=st.data(), event=st.sampled_from(["receive", "receive", "restart"]))
    def something_happens_to_a_gateway(self, data: st.DataObject, event: str) -> None:
        gateway = data.draw(st.sampled_from(self.world.gateways))
        gateway.table = self.world.table  # a new process begins with the file, which is written first
        gateway.has_acknowledged = event == "receive"

    @rule()
    def the_control_plane_restarts(self) -> None:
        for gateway in self.world.gateways:
            gateway.has_acknowledged = False
        self.world.publish()

    @rule(seconds=st.sampled_from([1, 100, 1300]))
    def time_passes(self, seconds: int) -> None:
        self.world.now_ms += seconds * 1000

    def teardown(self) -> None:
        """The world calms down: everything that can work works, and everybody answers."""
        world = self.world
        if not world.gateways:
            return
        for _ in range(60):
            for gateway in world.gateways:
                gateway.table, gateway.has_acknowledged = world.table, True
            actions = world.plan()
            for action in actions:
                world.act(action)
            before = dict(world.replicas)
            for slot in list(world.replicas):
                self.happen(slot, "gone" if world.replicas[slot].state is ReplicaState.DRAINING else "ready")
            if not actions and self.at_rest(before):
                break
        else:
            raise AssertionError("it does not come to rest")
        self.check_rest()

    def at_rest(self, before: dict[str, Replica]) -> bool:
        return before == self.world.replicas and self.world.routing().is_settled

    def check_rest(self) -> None:
        world, endpoint = self.world, self.world.endpoint
        assert world.plan() == world.plan() == ()
        if endpoint is None or endpoint.stopped or endpoint.active is None:
            assert not world.replicas
            assert not world.table.slots()
            return
        assert endpoint.update is not ConfigUpdate.IN_PROGRESS
        wanted = {spec.slot for spec in specs_of(endpoint, endpoint.active, scales=world.scales)}
        assert set(world.replicas) == wanted == world.table.slots()
        assert is_ready(endpoint, world.replicas.values())
        asleep = {slot for slot, replica in world.replicas.items() if replica.state is ReplicaState.ASLEEP}
        assert asleep == world.table.sleeping_slots()


PlanningModel.TestCase.settings = settings(deadline=None, derandomize=True, max_examples=300, stateful_step_count=60)
TestPlanningModel = PlanningModel.TestCase
