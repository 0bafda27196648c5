"""Every kind of page and mail as files a browser and a checker can open."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import explanations_made
import operations_made
import statements_made as made
from test_report_mail import message, parts

from etl.lake import open_store
from etl.statement import Statement
from reports.model import build
from reports.operator import desk
from reports.publish import Publisher

OPERATIONS = ("usual", "in_order", "nothing", "hostile", "huge")


def publish_all(root: Path, statements: Mapping[str, Statement]) -> dict[str, Path]:
    """Publish each made statement into a folder of its own, as a bucket would hold it; name → page.

    "usual" is the month page, "usual account" and "rich products" are pages of the account, "usual revision" is what is
    kept for ever, "mail usual" is the mail's HTML, "operator usual" what only operators see.
    """
    found = {}
    for name, statement in statements.items():
        publisher = Publisher(open_store(root / name))
        if name == "usual":
            publisher.publish(september())
        if name == "revised":
            publisher.publish(made.replaced())
        publisher.publish(statement, lambda statement=statement: explanations_made.of(statement))
        account = root / name / statement.account.account_id
        month = account / str(statement.month)
        pages = {
            name: month / "index.html",
            f"{name} account": account / "index.html",
            f"{name} products": account / "products.html",
            f"{name} revision": month / f"rev-{statement.revision}" / "index.html",
            f"{name} explained": month / f"rev-{statement.revision}" / "explained.html",
        }
        found |= {kind: path for kind, path in pages.items() if path.exists()}
        mail = root / "mail" / f"{name}.html"
        mail.parent.mkdir(exist_ok=True)
        mail.write_text(parts(message(build(statement)).as_bytes())[0], encoding="utf-8")
        found[f"mail {name}"] = mail
    for name in OPERATIONS:
        operations = getattr(operations_made, name)()
        drawn = desk.publish(Publisher(open_store(root / "operations" / name)), operations)
        found[f"operator {name}"] = root / "operations" / name / drawn.page
    left = {path for path in root.rglob("*.html")} - set(found.values())
    assert all(path.parts[-2] in ("2026-09", "rev-1", "_operator") for path in left), (
        f"a kind of page without a name: {left}"
    )
    return found


def september() -> Statement:
    """The month before, so that there is more than one to choose from."""
    month = made.OCTOBER - 1
    return made.statement(lambda who: made.usual(who, month), month=month)
