"""A fork server for each Python environment that is in use.

Penstock's own environment, whose name is empty, always has one. Another one gets its own as soon as a child has become
ready in it, and loses it when no child is left that ran in it. One that says that it cannot fork is given up, and so is
the environment's, for as long as the stack runs.
"""

import logging
from collections.abc import Callable

from penstock.domain.environment import is_environment_key
from penstock.domain.replica import ReplicaState
from penstock.runtime.forker import Forker
from penstock.runtime.tree import ChildPlan, ProcessTree

OURS = ""
ROLE = "zygote"

_log = logging.getLogger(__name__)


class ForkServers:
    """Starts and ends fork servers as children of a tree."""

    def __init__(self, tree: ProcessTree, plan: Callable[[str, str, Forker], ChildPlan]) -> None:
        """`plan` says how to start the fork server of an environment, given its name and that of the environment."""
        self._tree = tree
        self._plan = plan
        self._forkers: dict[str, Forker] = {}
        self._given_up: set[str] = set()

    def start(self) -> None:
        """Start that of Penstock's own environment."""
        self._start(OURS)

    def forker(self, environment: str | None) -> Forker | None:
        """What forks children into an environment, or at least into ours, from where they find their way."""
        for name in (environment or OURS, OURS):
            forker = self._forkers.get(name)
            if forker is not None and forker.is_ready:
                return forker
        return None

    def follow(self) -> None:
        """Look at the tree, which has changed."""
        for environment, forker in list(self._forkers.items()):
            server = next((child for child in self._tree if child.plan.name == _name(environment)), None)
            forker.is_ready = server is not None and server.state is ReplicaState.READY
            if server is not None and server.load_failed:
                _log.warning("no replica will be forked in environment '%s': %s", environment, server.message)
                self._given_up.add(environment)
                self._end(environment)
        running = {child.environment for child in self._tree if child.plan.role != ROLE}
        used = {name for name in running if name is not None and is_environment_key(name)}
        for environment in self._forkers.keys() - used - {OURS}:
            self._end(environment)
        for environment in used - self._forkers.keys() - self._given_up:
            if _name(environment) not in self._tree:  # a former one, which has not ended yet
                self._start(environment)

    def _start(self, environment: str) -> None:
        forker = self._forkers[environment] = Forker()
        self._tree.add(self._plan(_name(environment), environment, forker))

    def _end(self, environment: str) -> None:
        forker = self._forkers.pop(environment)
        self._tree.remove(_name(environment))
        forker.close()


def _name(environment: str) -> str:
    return f"{ROLE}-{environment}" if environment else ROLE
