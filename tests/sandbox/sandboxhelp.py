"""What the tests of the sandbox share: the provider's moment, its documents, and the official client's way in."""

import json
from datetime import date, time
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from openapi_schema_validator import OAS30Validator
from twilio.http.http_client import TwilioHttpClient

from sandbox.traffic import clock_at

NOW = "2026-11-08T20:30:07Z"
CLOCK = clock_at(date(2026, 11, 8), time(20, 30, 7))
BASE = "/2010-04-01/Accounts"


class Document:
    """One of the provider's OpenAPI documents."""

    def __init__(self, name: str) -> None:
        self.whole = json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))

    def inlined(self, node):
        if isinstance(node, dict):
            if "$ref" in node:
                target = self.whole
                for part in node["$ref"].split("/")[1:]:
                    target = target[part]
                return self.inlined(target)
            return {key: self.inlined(value) for key, value in node.items()}
        return [self.inlined(value) for value in node] if isinstance(node, list) else node

    def check(self, path: str, body: dict, status: str = "200") -> None:
        """AssertionError unless the document allows this answer."""
        schema = self.whole["paths"][path]["get"]["responses"][status]["content"]["application/json"]["schema"]
        errors = list(OAS30Validator(self.inlined(schema)).iter_errors(body))
        assert not errors, errors[:3]


class Redirected(TwilioHttpClient):
    """The official client's transport, pointed at the sandbox."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.host = urlsplit(url)

    def request(self, method, url, *args, **kwargs):
        asked = urlsplit(url)
        return super().request(
            method, urlunsplit((self.host.scheme, self.host.netloc, asked.path, asked.query, "")), *args, **kwargs
        )
