"""Use cases of permissions: who may do what with an endpoint, and who is in which group."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from penstock.control.publisher import Publisher
from penstock.domain.access import ADMINS, Grant, Level, Principal, level_of, merged
from penstock.domain.endpoint import Endpoint
from penstock.domain.errors import InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from penstock.domain.names import check_group_name, check_principal_name
from penstock.stores.database import Database


class Permissions:
    """Checks and changes of what principals may do."""

    def __init__(self, database: Database, publisher: Publisher) -> None:
        self._database = database
        self._publisher = publisher

    def level(self, caller: str, endpoint: Endpoint) -> Level | None:
        """The caller's level on an endpoint."""
        return level_of(self._database.principal(caller), endpoint.grants)

    def visible(self, caller: str, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
        """Those endpoints on which the caller has any level."""
        principal = self._database.principal(caller)
        return [endpoint for endpoint in endpoints if level_of(principal, endpoint.grants) is not None]

    def require(self, caller: str, endpoint: Endpoint, wanted: Level) -> None:
        """Raise PermissionDenied unless the caller has that level on the endpoint, or a higher one."""
        level = self.level(caller, endpoint)
        if level is None or not level.covers(wanted):
            raise PermissionDenied(f"'{caller}' needs {wanted} on endpoint '{endpoint.name}'.")

    def is_admin(self, caller: str) -> bool:
        """Whether the caller may manage everything."""
        return self._database.principal(caller).is_admin

    def require_admin(self, caller: str, what: str) -> None:
        """Raise PermissionDenied unless the caller is an admin."""
        if not self.is_admin(caller):
            raise PermissionDenied(f"'{caller}' may not {what}: only members of the group '{ADMINS}' may.")

    def endpoint(self, endpoint_id: str) -> Endpoint:
        """The endpoint of an id.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        endpoint = self._database.endpoint_of_id(endpoint_id)
        if endpoint is None:
            raise ResourceDoesNotExist(f"Endpoint with id '{endpoint_id}' does not exist.")
        return endpoint

    async def replace_grants(self, endpoint_id: str, grants: tuple[Grant, ...], caller: str) -> Endpoint:
        """Give an endpoint these grants in place of those it has; raises as `_change` does."""
        return await self._change(endpoint_id, caller, lambda _: merged((), grants))

    async def merge_grants(self, endpoint_id: str, grants: tuple[Grant, ...], caller: str) -> Endpoint:
        """Lay grants over those that an endpoint has; raises as `_change` does."""
        return await self._change(endpoint_id, caller, lambda before: merged(before, grants))

    async def _change(
        self, endpoint_id: str, caller: str, change: Callable[[tuple[Grant, ...]], tuple[Grant, ...]]
    ) -> Endpoint:
        """Change an endpoint's grants. Every gateway keeps to them once this has returned.

        Raises:
            ResourceDoesNotExist: there is no such endpoint.
            PermissionDenied: the caller may not manage it.
            InvalidParameterValue: the caller would lose its own CAN_MANAGE.
        """
        endpoint = self.endpoint(endpoint_id)
        self.require(caller, endpoint, Level.CAN_MANAGE)
        changed = replace(endpoint, grants=change(endpoint.grants))
        if self.level(caller, changed) is not Level.CAN_MANAGE:
            raise InvalidParameterValue(f"access_control_list: '{caller}' would lose its own CAN_MANAGE.")
        self._database.save_endpoint(changed, caller)
        await self._publisher.publish_and_settle()
        return changed

    def principals(self) -> list[Principal]:
        """All principals with their groups."""
        return self._database.principals()

    def groups(self, caller: str) -> tuple[str, ...]:
        """The groups that a principal is in."""
        return self._database.principal(caller).groups

    async def set_groups(self, name: str, groups: tuple[str, ...], caller: str) -> Principal:
        """Put a principal into these groups and no others. Every gateway knows once this has returned.

        Raises:
            PermissionDenied: the caller is no admin.
            InvalidParameterValue: a name is none, or the caller would take its own admin's rights.
        """
        self.require_admin(caller, "change groups")
        check_principal_name("name", name)
        for index, group in enumerate(groups):
            check_group_name(f"groups[{index}]", group)
        principal = Principal(name, tuple(dict.fromkeys(groups)))
        if name == caller and not principal.is_admin:
            raise InvalidParameterValue(f"groups: '{caller}' would leave the group '{ADMINS}' itself.")
        self._database.save_principal(principal)
        await self._publisher.publish_and_settle()
        return principal
