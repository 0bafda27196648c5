"""The store that a table of the settings describes."""

from __future__ import annotations

from pathlib import Path

from etl.lake.store import Store, open_store
from etl.settings import Resolver, StoreSettings


def open_configured(settings: StoreSettings, home: Path, resolve: Resolver) -> Store:
    """A relative folder lies beside the settings file; the connection brings keys and, unless the table does, the endpoint.
    ConfigurationError for a connection that is not known."""
    connection = resolve(settings.connection) if settings.connection else None
    endpoint = settings.endpoint_url
    if connection and not endpoint:
        endpoint = connection.extra.get("endpoint_url")
        if not endpoint and connection.host:
            endpoint = f"{connection.extra.get('scheme', 'https')}://{connection.host}:{connection.port or 443}"
    return open_store(
        settings.url if "://" in settings.url else (home / settings.url).resolve(),
        endpoint_url=endpoint,
        region=settings.region,
        access_key=connection.login if connection else None,
        secret_key=connection.password if connection else None,
        single_writer=settings.single_writer,
    )
