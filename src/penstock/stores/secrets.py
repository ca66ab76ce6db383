"""Secrets at rest: scopes and sealed values in SQL, beside the endpoints, whose configs hold sealed copies."""

from collections.abc import Callable
from dataclasses import replace

import msgspec
import sqlalchemy as sa

from penstock.domain.endpoint import Endpoint, EndpointConfig, resealed, resealed_config
from penstock.domain.errors import ResourceAlreadyExists, ResourceDoesNotExist
from penstock.domain.history import ConfigVersion
from penstock.domain.secrets import Sealed, SecretEntry, SecretScope
from penstock.stores.database import endpoints
from penstock.stores.history import config_versions
from penstock.stores.keyring import Undecryptable
from penstock.stores.sql import metadata, transaction

scopes = sa.Table(
    "secret_scopes",
    metadata,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("creator", sa.String, nullable=False),
    sa.Column("is_shared", sa.Boolean, nullable=False),
    sa.Column("created_at_ms", sa.BigInteger, nullable=False),
)

secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("scope", sa.String, primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("ciphertext", sa.Text, nullable=False),
    sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
)


class SecretStore:
    """Scopes and sealed values, one call a transaction."""

    def __init__(self, engine: sa.Engine) -> None:
        self._engine = engine

    def scopes(self) -> list[SecretScope]:
        """All scopes, by name."""
        with transaction(self._engine) as connection:
            rows = connection.execute(sa.select(scopes).order_by(scopes.c.name)).mappings()
            return [SecretScope(**row) for row in rows]

    def scope(self, name: str) -> SecretScope | None:
        """The scope of that name."""
        with transaction(self._engine) as connection:
            row = connection.execute(sa.select(scopes).where(scopes.c.name == name)).mappings().first()
        return None if row is None else SecretScope(**row)

    def insert_scope(self, scope: SecretScope) -> None:
        """Store a new scope.

        Raises:
            ResourceAlreadyExists: the name is taken.
        """
        row = {
            "name": scope.name,
            "creator": scope.creator,
            "is_shared": scope.is_shared,
            "created_at_ms": scope.created_at_ms,
        }
        try:
            with transaction(self._engine) as connection:
                connection.execute(sa.insert(scopes).values(row))
        except sa.exc.IntegrityError as exc:
            raise ResourceAlreadyExists(f"scope: a secret scope '{scope.name}' exists already.") from exc

    def delete_scope(self, name: str) -> None:
        """Forget a scope and its secrets."""
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(secrets).where(secrets.c.scope == name))
            connection.execute(sa.delete(scopes).where(scopes.c.name == name))

    def entries(self, scope: str) -> list[SecretEntry]:
        """The secrets of a scope by key, without their values."""
        query = (
            sa.select(secrets.c.key, secrets.c.updated_at_ms).where(secrets.c.scope == scope).order_by(secrets.c.key)
        )
        with transaction(self._engine) as connection:
            return [SecretEntry(**row) for row in connection.execute(query).mappings()]

    def sealed(self, scope: str, key: str) -> Sealed | None:
        """The sealed value of a secret."""
        query = sa.select(secrets.c.version, secrets.c.ciphertext).where(_is(scope, key))
        with transaction(self._engine) as connection:
            row = connection.execute(query).mappings().first()
        return None if row is None else Sealed(**row)

    def save(self, scope: str, key: str, sealed: Sealed, now_ms: int) -> None:
        """Store a value in place of the one that there may be."""
        row = {"version": sealed.version, "ciphertext": sealed.ciphertext, "updated_at_ms": now_ms}
        with transaction(self._engine) as connection:
            connection.execute(sa.delete(secrets).where(_is(scope, key)))
            connection.execute(sa.insert(secrets).values(scope=scope, key=key, **row))

    def delete(self, scope: str, key: str) -> None:
        """Forget a secret.

        Raises:
            ResourceDoesNotExist: there is none.
        """
        with transaction(self._engine) as connection:
            if not connection.execute(sa.delete(secrets).where(_is(scope, key))).rowcount:
                raise ResourceDoesNotExist(f"key: the scope '{scope}' has no secret '{key}'.")

    def sample(self) -> Sealed | None:
        """Any sealed value, of a secret or in a config: what a key file must be able to open. None if there is none."""
        with transaction(self._engine) as connection:
            row = connection.execute(sa.select(secrets.c.version, secrets.c.ciphertext).limit(1)).mappings().first()
            if row is not None:
                return Sealed(**row)
            for document in connection.scalars(sa.select(endpoints.c.document)):
                endpoint = msgspec.json.decode(document, type=Endpoint)
                for config in (endpoint.active, endpoint.pending):
                    if config is not None and (sealed := _any_of(config)) is not None:
                        return sealed
            for document in connection.scalars(sa.select(config_versions.c.document)):
                if (sealed := _any_of(msgspec.json.decode(document, type=ConfigVersion).config)) is not None:
                    return sealed
        return None

    def reseal(self, change: Callable[[Sealed], Sealed]) -> int:
        """Seal every value anew, those in configs of now and then included, all or none; returns how many there are.

        Whatever `change` raises leaves everything as it was. Only a config of the past whose value cannot be opened
        stays as it is: it is in nobody's way.
        """
        count = 0

        def counted(sealed: Sealed) -> Sealed:
            nonlocal count
            sealed = change(sealed)
            count += 1
            return sealed

        def counted_if_it_opens(sealed: Sealed) -> Sealed:
            try:
                return counted(sealed)
            except Undecryptable:
                return sealed

        with transaction(self._engine) as connection:
            for scope, key in connection.execute(sa.select(secrets.c.scope, secrets.c.key)).all():
                here = _is(scope, key)
                row = (
                    connection.execute(sa.select(secrets.c.version, secrets.c.ciphertext).where(here)).mappings().one()
                )
                connection.execute(sa.update(secrets).where(here).values(ciphertext=counted(Sealed(**row)).ciphertext))
            for endpoint_id, document in connection.execute(sa.select(endpoints.c.id, endpoints.c.document)).all():
                endpoint = msgspec.json.decode(document, type=Endpoint)
                changed = resealed(endpoint, counted)
                if changed != endpoint:
                    text = msgspec.json.encode(changed).decode()
                    connection.execute(sa.update(endpoints).where(endpoints.c.id == endpoint_id).values(document=text))
            for endpoint_id, number, document in connection.execute(sa.select(config_versions)).all():
                version = msgspec.json.decode(document, type=ConfigVersion)
                config = resealed_config(version.config, counted_if_it_opens)
                if config != version.config:
                    text = msgspec.json.encode(replace(version, config=config)).decode()
                    here = sa.and_(config_versions.c.endpoint_id == endpoint_id, config_versions.c.version == number)
                    connection.execute(sa.update(config_versions).where(here).values(document=text))
        return count


def _any_of(config: EndpointConfig) -> Sealed | None:
    return next((sealed for entity in config.entities for sealed in entity.sealed.values()), None)


def _is(scope: str, key: str) -> sa.ColumnElement[bool]:
    return sa.and_(secrets.c.scope == scope, secrets.c.key == key)
