"""Who may see and change what in the bucket: the templates of config/policies, filled in and judged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from string import Template

import pytest

from etl.lake import open_store
from reports.publish import Publisher

POLICIES = Path(__file__).resolve().parents[2] / "config" / "policies"
ROLES = ("publisher", "account-reader", "operator", "lake")
BUCKET = "arn:aws:s3:::tollbook-reports"
ACTIONS = {
    "s3:*", "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject", "s3:DeleteObjectVersion",
    "s3:PutObjectAcl", "s3:PutBucketAcl", "s3:PutBucketPolicy", "s3:PutBucketPublicAccessBlock",
    "s3:PutLifecycleConfiguration", "s3:PutBucketVersioning", "s3:Put*", "s3:Delete*", "s3:Restore*", "s3:Replicate*",
}  # fmt: skip
CONDITIONS = {
    "StringLike": {"s3:prefix"},
    "StringLikeIfExists": {"s3:prefix"},
    "Bool": {"aws:SecureTransport"},
    "NumericLessThan": {"s3:TlsVersion"},
}


def policy(name: str, prefix: str = "site/", account: str = "acct_1") -> dict:
    text = (POLICIES / f"{name}.json").read_text(encoding="utf-8")
    return json.loads(Template(text).substitute(bucket="tollbook-reports", prefix=prefix, account=account))


def several(value) -> list:
    return value if isinstance(value, list) else [value]


def like(pattern: str, value: str) -> bool:
    """``*`` and ``?`` as AWS reads them: any run of characters, slashes too, and any one."""
    parts = (".*" if c == "*" else "." if c == "?" else re.escape(c) for c in pattern)
    return re.fullmatch("".join(parts), value, flags=re.DOTALL) is not None


def meets(conditions: dict, request: dict) -> bool:
    """Every operator and key must hold; a key the request lacks fails it, unless the operator says IfExists."""
    for operator, keys in conditions.items():
        test = {
            "StringLike": like,
            "Bool": lambda wanted, given: wanted == given,
            "NumericLessThan": lambda wanted, given: float(given) < float(wanted),
        }[operator.removesuffix("IfExists")]
        for key, wanted in keys.items():
            if key not in request:
                if not operator.endswith("IfExists"):
                    return False
            elif not any(test(one, request[key]) for one in several(wanted)):
                return False
    return True


def allowed(policies: list[dict], action: str, resource: str, **request: str) -> bool:
    """An explicit deny wins, then an allow is needed. Action names do not care about case."""
    request = {"aws:SecureTransport": "true", "s3:TlsVersion": "1.3"} | {
        {"prefix": "s3:prefix", "secure": "aws:SecureTransport", "tls": "s3:TlsVersion"}[k]: v
        for k, v in request.items()
    }
    effects = {
        statement["Effect"]
        for document in policies
        for statement in document["Statement"]
        if any(like(one.lower(), action.lower()) for one in several(statement["Action"]))
        and any(like(one, resource) for one in several(statement["Resource"]))
        and meets(statement.get("Condition", {}), request)
    }
    return "Deny" not in effects and "Allow" in effects


# ------------------------------------------------------------------------------------------------ grammar


@pytest.mark.parametrize("name", [*ROLES, "bucket"])
def test_a_template_is_a_policy_once_it_is_filled(name):
    document = policy(name)
    assert document.keys() == {"Version", "Statement"} and document["Version"] == "2012-10-17"
    sids = [statement["Sid"] for statement in document["Statement"]]
    assert len(set(sids)) == len(sids) and all(re.fullmatch("[A-Za-z0-9]+", sid) for sid in sids)
    for statement in document["Statement"]:
        needed = {"Sid", "Effect", "Action", "Resource"} | ({"Principal"} if name == "bucket" else set())
        assert needed <= statement.keys() <= needed | {"Condition"}, "a role's policy names nobody, a bucket's does"
        assert statement["Effect"] in ("Allow", "Deny")
        assert statement.get("Principal", "*") == "*"
        assert name != "bucket" or statement["Effect"] == "Deny", "nobody is let in by the bucket itself"
        assert set(several(statement["Action"])) <= ACTIONS
        for resource in several(statement["Resource"]):
            assert resource == BUCKET or resource.startswith(f"{BUCKET}/"), "of this bucket, and never of all"
        for operator, keys in statement.get("Condition", {}).items():
            assert keys.keys() <= CONDITIONS[operator]
            assert all(isinstance(one, str) for value in keys.values() for one in several(value))
        of_bucket = {"s3:ListBucket"} & set(several(statement["Action"]))
        assert not of_bucket or (several(statement["Resource"]) == [BUCKET] and "Condition" in statement)


def test_nothing_is_public():
    assert json.loads((POLICIES / "public-access-block.json").read_text()) == dict.fromkeys(
        ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True
    )


# ------------------------------------------------------------------------------------------------ who may what

GET, PUT, LIST, DELETE = "s3:GetObject", "s3:PutObject", "s3:ListBucket", "s3:DeleteObject"
MINE, REVISION = "site/acct_1/2026-10/index.html", "site/acct_1/2026-10/rev-1/index.html"
OTHER, LIKE_MINE, HERS = "site/acct_2/index.html", "site/acct_10/2026-10/index.html", "site/_operator/index.html"
CASES = [
    # role, action, key or prefix, may
    ("publisher", GET, MINE, True), ("publisher", PUT, MINE, True), ("publisher", PUT, REVISION, True),
    ("publisher", PUT, HERS, True), ("publisher", GET, OTHER, True), ("publisher", LIST, "site/acct_1/", True),
    ("publisher", LIST, "site/", True), ("publisher", LIST, None, True),
    ("publisher", DELETE, MINE, False), ("publisher", "s3:DeleteObjectVersion", MINE, False),
    ("publisher", "s3:PutObjectAcl", MINE, False), ("publisher", PUT, "lake/_log/x", False),
    ("publisher", GET, "lake/_log/x", False), ("publisher", LIST, "lake/", False), ("publisher", LIST, "", False),
    ("lake", GET, "site/_log/x", True), ("lake", PUT, "site/_hist/charges/x", True), ("lake", LIST, "site/_log/", True),
    ("lake", DELETE, "site/_hist/raw/date=2026-10-31/source=a/x.gz", True), ("lake", DELETE, "site/_hist/events/x", True),
    ("lake", DELETE, "site/_hist/charges/x", False), ("lake", DELETE, "site/_log/raw/x", False),
    ("lake", DELETE, "site/close/x", False), ("lake", DELETE, "site/events/x", False), ("lake", GET, "other/_log/x", False),
    ("lake", "s3:DeleteObjectVersion", "site/_hist/raw/x", False),
    ("account-reader", GET, MINE, True), ("account-reader", GET, REVISION, True),
    ("account-reader", GET, "site/acct_1/all_daily.csv", True), ("account-reader", LIST, "site/acct_1/", True),
    ("account-reader", LIST, "site/acct_1/2026-10/", True),
    ("account-reader", GET, OTHER, False), ("account-reader", GET, LIKE_MINE, False), ("account-reader", GET, HERS, False),
    ("account-reader", GET, "site/acct_1", False), ("account-reader", GET, "other/acct_1/index.html", False),
    ("account-reader", LIST, "site/acct_1", False), ("account-reader", LIST, "site/acct_10/", False),
    ("account-reader", LIST, "site/", False), ("account-reader", LIST, "", False), ("account-reader", LIST, None, False),
    ("account-reader", LIST, "site/_operator/", False), ("account-reader", PUT, MINE, False),
    ("account-reader", DELETE, MINE, False), ("account-reader", "s3:GetBucketPolicy", None, False),
    ("operator", GET, HERS, True), ("operator", GET, MINE, True), ("operator", GET, LIKE_MINE, True),
    ("operator", LIST, "site/_operator/", True), ("operator", LIST, "site/", True),
    ("operator", PUT, HERS, False), ("operator", PUT, MINE, False), ("operator", DELETE, HERS, False),
    ("operator", "s3:PutBucketPolicy", None, False), ("operator", GET, "lake/_log/x", False), ("operator", LIST, None, False),
]  # fmt: skip


def asked(action: str, where: str | None) -> tuple[str, dict[str, str]]:
    """(resource, what the request carries): of a listing the prefix is a condition, not a resource."""
    if action == LIST:
        return BUCKET, {} if where is None else {"prefix": where}
    return (BUCKET if where is None else f"{BUCKET}/{where}"), {}


@pytest.mark.parametrize(("role", "action", "where", "may"), CASES)
def test_who_may_what(role, action, where, may):
    resource, request = asked(action, where)
    both = [policy(role), policy("bucket")]
    assert allowed(both, action, resource, **request) is may
    assert not allowed([policy(role)], action, resource, secure="false", **request), "never in the clear"
    assert not allowed(both, action, resource, tls="1.1", **request)


def test_a_deny_wins_over_whatever_else_a_role_has():
    everything = {"Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    assert allowed([everything], DELETE, f"{BUCKET}/{MINE}")
    assert not allowed([everything, policy("publisher")], DELETE, f"{BUCKET}/{MINE}")
    assert not allowed([everything, policy("operator")], PUT, f"{BUCKET}/{MINE}")


def test_accounts_with_ids_that_begin_alike_never_meet():
    for one, other in (("acct_1", "acct_10"), ("acct_10", "acct_1"), ("a", "a-b"), ("a_b", "a")):
        mine = [policy("account-reader", account=one)]
        assert allowed(mine, GET, f"{BUCKET}/site/{one}/x") and allowed(mine, LIST, BUCKET, prefix=f"site/{one}/")
        assert not allowed(mine, GET, f"{BUCKET}/site/{other}/x")
        assert not allowed(mine, LIST, BUCKET, prefix=f"site/{other}/")


def test_a_bucket_of_its_own_needs_no_prefix():
    assert allowed([policy("account-reader", prefix="")], GET, f"{BUCKET}/acct_1/index.html")
    assert not allowed([policy("account-reader", prefix="")], GET, f"{BUCKET}/acct_10/index.html")
    assert allowed([policy("publisher", prefix="")], PUT, f"{BUCKET}/_operator/index.html")


def test_the_publisher_may_do_all_that_publishing_does(tmp_path, statements):
    """Each call of the store is asked of the policy. Looking for an object that is not there needs the list: without it
    S3 answers 403, not 404, and a first publication would fail."""
    calls = []

    class Watched:
        inner = open_store(tmp_path)

        def __getattr__(self, name):
            work = getattr(self.inner, name)
            needs = {"get": (GET, LIST), "digest": (GET, LIST), "exists": (GET, LIST), "put": (PUT,), "list": (LIST,)}
            if name not in needs:
                return work

            def call(where, *args, **more):
                calls.extend((name, action, where) for action in needs[name])
                return work(where, *args, **more)

            return call

    publisher = Publisher(Watched())
    publisher.publish(statements["usual"])
    publisher.publish(statements["usual"])
    mine = [policy("publisher"), policy("bucket")]
    assert {name for name, *_ in calls} >= {"get", "digest", "put", "list"}
    for name, action, where in calls:
        if action == LIST:
            request = {"prefix": f"site/{where}"} if name == "list" else {}
            assert allowed(mine, LIST, BUCKET, **request), name
        else:
            assert allowed(mine, action, f"{BUCKET}/site/{where}"), (name, where)
