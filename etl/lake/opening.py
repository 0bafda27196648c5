"""From a URL, or a table of the settings, to a store."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from etl.lake.store import Store
from etl.settings import Resolver, StoreSettings


def open_store(
    url: str | Path,
    *,
    endpoint_url: str | None = None,
    region: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    single_writer: bool = False,
) -> Store:
    """A store for `file:///abs/path`, a plain path, or `s3://bucket/prefix`.

    Credentials default to the usual AWS chain. `single_writer=True` is the operator's word that no two jobs
    ever write at once; only then is a store that ignores conditional writes accepted.
    ValueError for any other URL.
    """
    text = str(url)
    if text.startswith("s3://"):
        from etl.lake.s3 import S3Store  # boto3 is slow to import and local users never need it

        return S3Store(
            text,
            endpoint_url=endpoint_url,
            region=region,
            access_key=access_key,
            secret_key=secret_key,
            single_writer=single_writer,
        )
    from etl.lake.local import LocalStore

    if text.startswith("file:"):
        parts = urlsplit(text)
        if parts.netloc not in ("", "localhost") or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ValueError(f"a local lake is file:///absolute/path, not {text!r}")
        return LocalStore(Path(unquote(parts.path)), single_writer=single_writer)
    if "://" in text or not text:
        raise ValueError(f"unknown lake URL {text!r}: use a path, file:///path or s3://bucket/prefix")
    return LocalStore(Path(text), single_writer=single_writer)


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
