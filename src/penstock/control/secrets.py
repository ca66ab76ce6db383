"""Use cases of secrets: scopes, put, list, delete, rotate. Nothing here returns a value to a caller.

They are used in two places: a config that is accepted takes sealed values along, and a replica that is started gets
them in clear.
"""

from collections.abc import Mapping

from penstock.control.clock import now_ms
from penstock.domain.access import ADMINS
from penstock.domain.errors import InternalError, InvalidParameterValue, PermissionDenied, ResourceDoesNotExist
from penstock.domain.replica import ReplicaSpec
from penstock.domain.secrets import (
    MAX_SCOPES,
    MAX_SECRETS_OF_A_SCOPE,
    Plaintext,
    Reference,
    Sealed,
    SecretEntry,
    SecretScope,
    check_entity_secrets,
    check_secret_name,
    check_secret_value,
    reference_in,
    variable_text,
)
from penstock.domain.served_entity import ServedEntity
from penstock.stores.database import Database
from penstock.stores.keyring import KeyFileUnusable, KeyRing, Undecryptable
from penstock.stores.secrets import SecretStore


class Secrets:
    """All that can be done with secrets."""

    def __init__(self, database: Database, store: SecretStore, keys: KeyRing) -> None:
        self._database = database
        self._store = store
        self._keys = keys

    def create_scope(self, name: str, caller: str, *, is_shared: bool) -> None:
        """Store a new scope.

        Raises:
            InvalidParameterValue: the name is not allowed, or there are too many scopes.
            ResourceAlreadyExists: the name is taken.
        """
        check_secret_name("scope", name)
        scopes = self._store.scopes()
        if len(scopes) >= MAX_SCOPES and name not in [scope.name for scope in scopes]:
            raise InvalidParameterValue(f"scope: there are {len(scopes)} scopes; no more than {MAX_SCOPES} are kept.")
        self._store.insert_scope(SecretScope(name, caller, is_shared, now_ms()))

    def scopes(self, caller: str) -> list[SecretScope]:
        """The scopes that the caller may manage, by name."""
        principal = self._database.principal(caller)
        return [scope for scope in self._store.scopes() if scope.may_be_used_by(principal)]

    def delete_scope(self, name: str, caller: str) -> None:
        """Forget a scope and its secrets; raises as `_scope` does."""
        self._store.delete_scope(self._scope(name, caller).name)

    def put(self, scope_name: str, key: str, value: bytes, field: str, caller: str) -> None:
        """Store a value in place of the one that there may be; configs that exist keep the one they have.

        Raises:
            ResourceDoesNotExist, PermissionDenied: as `_scope` does.
            InvalidParameterValue: the key is not allowed, the value (of `field`) too long, the scope full.
        """
        scope = self._scope(scope_name, caller)
        check_secret_name("key", key)
        check_secret_value(field, value)
        keys = [entry.key for entry in self._store.entries(scope.name)]
        if len(keys) >= MAX_SECRETS_OF_A_SCOPE and key not in keys:
            raise InvalidParameterValue(
                f"key: the scope '{scope.name}' has {len(keys)} secrets; "
                f"no more than {MAX_SECRETS_OF_A_SCOPE} are kept."
            )
        self._store.save(scope.name, key, self._keys.seal(value), now_ms())

    def entries(self, scope_name: str, caller: str) -> list[SecretEntry]:
        """The secrets of a scope, without their values; raises as `_scope` does."""
        return self._store.entries(self._scope(scope_name, caller).name)

    def delete(self, scope_name: str, key: str, caller: str) -> None:
        """Forget a secret; configs that exist keep its value.

        Raises:
            InvalidParameterValue, PermissionDenied: as `_scope` does, or no secret can have that key.
            ResourceDoesNotExist: there is no such scope or key.
        """
        scope = self._scope(scope_name, caller)
        check_secret_name("key", key)
        self._store.delete(scope.name, key)

    def rotate(self) -> int:
        """Encrypt everything with a new key and drop the old one; returns how many values there are.

        A crash at any step leaves a file that opens everything; rotating again ends what was begun.

        Raises:
            InternalError: the key file cannot be written, or a value cannot be opened.
        """
        try:
            self._keys.add_key()
            count = self._store.reseal(self._keys.reseal)
            self._keys.drop_old_keys()
        except KeyFileUnusable as exc:
            raise InternalError(f"The rotation has not ended: {exc} Every value can still be opened.") from exc
        except Undecryptable as exc:
            raise InternalError(
                f"The rotation was given up, nothing is encrypted anew: there is a value of which {exc}. "
                "Put back the key that it was encrypted with."
            ) from exc
        return count

    def sealed_for(self, field: str, environment: Mapping[str, str], caller: str) -> dict[str, Sealed]:
        """The sealed value of each variable that is a reference, checked to fit into a process's environment.

        Raises:
            InvalidParameterValue: a secret does not exist, is not the caller's to use, or fits into no variable.
        """
        sealed: dict[str, Sealed] = {}
        values: dict[str, str] = {}
        for name, value in environment.items():
            variable = f"{field}.{name}"
            reference = reference_in(variable, value)
            if reference is not None:
                sealed[name] = self._look_up(variable, reference, caller)
                values[name] = variable_text(variable, reference, self._open_put(variable, reference, sealed[name]))
        check_entity_secrets(field, values)
        return sealed

    def seal(self, value: Plaintext) -> Sealed:
        """A value that came in clear, encrypted."""
        return self._keys.seal(value.text.encode())

    def values_for(self, spec: ReplicaSpec) -> dict[str, Plaintext]:
        """What a replica gets in place of the references among its variables.

        The endpoint is loaded here and now: a rotation since the replica was planned has sealed its values anew.

        Raises:
            Undecryptable: a value cannot be opened.
        """
        endpoint = self._database.endpoint_of_id(spec.endpoint_id)
        sealed = endpoint.sealed_for(spec.deployment) if endpoint is not None else {}
        return {name: Plaintext(self._keys.open(value).decode()) for name, value in sealed.items()}

    def obstacle(self, entity: ServedEntity) -> str:
        """Why replicas of an entity cannot be started, empty if they can."""
        for name, sealed in entity.sealed.items():
            try:
                self._keys.open(sealed)
            except Undecryptable as exc:
                return (
                    f"No replica can be started: the secret in environment_vars.{name} cannot be decrypted, {exc}. "
                    "Put back the key and restart the stack; or put the secret again and update the config."
                )
        return ""

    def _look_up(self, field: str, reference: Reference, caller: str) -> Sealed:
        scope = self._store.scope(reference.scope)
        sealed = self._store.sealed(reference.scope, reference.key)
        if scope is None or sealed is None:
            raise InvalidParameterValue(f"{field}: the secret '{reference}' does not exist.")
        if not scope.may_be_used_by(self._database.principal(caller)):
            raise InvalidParameterValue(f"{field}: '{caller}' may not use the secret '{reference}'.")
        return sealed

    def _open_put(self, field: str, reference: Reference, sealed: Sealed) -> bytes:
        try:
            return self._keys.open(sealed)
        except Undecryptable as exc:
            raise InvalidParameterValue(
                f"{field}: the secret '{reference}' cannot be decrypted, {exc}; put it again, or put back the key."
            ) from exc

    def _scope(self, name: str, caller: str) -> SecretScope:
        """A scope that the caller may manage.

        Raises:
            InvalidParameterValue: no scope can have that name.
            ResourceDoesNotExist: there is no such scope.
            PermissionDenied: it is somebody else's.
        """
        check_secret_name("scope", name)
        scope = self._store.scope(name)
        if scope is None:
            raise ResourceDoesNotExist(f"scope: there is no secret scope '{name}'.")
        if not scope.may_be_used_by(self._database.principal(caller)):
            raise PermissionDenied(
                f"'{caller}' may not use the secret scope '{name}': only its creator and members of '{ADMINS}' may."
            )
        return scope
