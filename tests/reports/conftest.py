"""Statements, a lake for the outbox, a mail catcher and a browser for the tests of what people see."""

from __future__ import annotations

from pathlib import Path

import pytest
import statements_made as made
from pagesmade import publish_all
from reportshelp import Catcher, FakeJobs, listening, make_jobs

from etl.statement import Statement
from reports.model import Page, build


@pytest.fixture(scope="session")
def statements() -> dict[str, Statement]:
    """Every made statement by name, each built once."""
    return {name: make() for name, make in made.ALL.items()}


@pytest.fixture(scope="session")
def pages_by_name(statements) -> dict[str, Page]:
    return {name: build(statement) for name, statement in statements.items()}


@pytest.fixture(params=list(made.ALL))
def each(request, statements) -> Statement:
    """One test for every made statement."""
    return statements[request.param]


@pytest.fixture
def jobs(tmp_path, catcher, statements) -> FakeJobs:
    return make_jobs(tmp_path, [statements["usual"]], port=catcher.port)


@pytest.fixture
def catcher():
    handler = Catcher()
    with listening(handler) as handler.port:
        yield handler


@pytest.fixture(scope="session")
def published(tmp_path_factory, statements) -> dict[str, Path]:
    """Every kind of page and mail of every made statement, by name: see `pagesmade.publish_all`."""
    return publish_all(tmp_path_factory.mktemp("published"), statements)


@pytest.fixture
def see(chromium, published):
    """Open a document; returns the browser's page and everything it asked for or complained about."""
    opened = []

    def open_(document: str | Path, width: int = 1280, scheme: str = "light", **options):
        url = (published[document] if isinstance(document, str) else document).as_uri()
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **options)
        opened.append(context)
        page, heard = context.new_page(), []
        page.on("request", lambda r: heard.append(r.url))
        page.on("console", lambda m: heard.append(m.text))
        page.on("pageerror", lambda e: heard.append(str(e)))
        page.goto(url)
        heard.remove(url)
        return page, heard

    yield open_
    for context in opened:
        context.close()
