"""Mutants of a Python file: one small change each, as a person might mistype or misthink it.

Not mutated: texts of errors and findings, docstrings, type hints, imports, decorators; ``strict=`` of ``zip``, which
asserts what holds anyway; and names of columns where only those can stand, for a mistyped one fails at once.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARE = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,), ast.NotIn: (ast.In,),
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.Div: ast.Mult,
    ast.Mod: ast.Mult, ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
}  # fmt: skip
# Polars says in names what Python says in operators.
_NAMES = {
    "min": "max", "any": "all", "first": "last", "is_null": "is_not_null", "any_horizontal": "all_horizontal",
    "min_horizontal": "max_horizontal", "minimum": "maximum", "cum_min": "cum_max", "head": "tail",
}  # fmt: skip
_NAMES |= {new: old for old, new in _NAMES.items()}
_OF_COLUMNS = ("col", "over", "select", "group_by", "sort", "alias", "drop", "drop_nulls", "unique")
_ALIASES = ("tuple", "dict", "list", "Callable", "TypeVar")


@dataclass(frozen=True)
class Mutant:
    """One change: to the ``place``-th place of the tree the ``change``-th of what can be done there."""

    line: int
    operator: str
    before: str
    after: str
    place: int
    change: int

    def source(self, original: str) -> str:
        """The whole file with the change in it."""
        tree = ast.parse(original)
        node, put = next(p for n, p in enumerate(_places(tree)) if n == self.place)
        _, change = list(_changes(node))[self.change]
        put(change(node))
        return ast.unparse(ast.fix_missing_locations(tree))


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of a file, as its tree is walked."""
    for place, (node, _) in enumerate(_places(ast.parse(source))):
        for number, (operator, change) in enumerate(_changes(node)):
            new = change(copy.deepcopy(node))
            after = "" if new is None else ast.unparse(ast.fix_missing_locations(new))
            before, after = (ast.unparse(node), after) if operator != "condition" else _head(node)
            yield Mutant(getattr(node, "lineno", 0), operator, before, after, place, number)


def _head(node: ast.AST) -> tuple[str, str]:
    """What a condition was and is, without the block that hangs on it."""
    if isinstance(node, ast.comprehension):
        return "if " + " if ".join(map(ast.unparse, node.ifs)), ""
    return f"if {ast.unparse(node.test)}", f"if not ({ast.unparse(node.test)})"


def plain(source: str) -> str:
    """The file unchanged, but written as its mutants are: the base line that must pass."""
    return ast.unparse(ast.parse(source))


def lines(source: str) -> list[int]:
    """The line of each place a mutant may have."""
    return [getattr(node, "lineno", 0) for node, _ in _places(ast.parse(source))]


def _places(tree: ast.AST):
    """Every node that may be changed, with the function that puts another in its place."""
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_comment") or _untouched(tree, field):
            continue
        for at, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if not isinstance(child, ast.AST) or _is_text(child, tree):
                continue

            def put(new, field=field, at=at):
                if at is None:
                    setattr(tree, field, new)
                elif new is None:
                    del getattr(tree, field)[at]
                else:
                    getattr(tree, field)[at] = new

            yield child, put
            yield from _places(child)


def _untouched(node: ast.AST, field: str) -> bool:
    match node:
        case ast.Raise() | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return True
        case ast.Assign(targets=[ast.Name(id="__all__")]):
            return True
        case ast.Assign(value=ast.Subscript(value=ast.Name(id=name)) | ast.Call(func=ast.Name(id=name))):
            return name in _ALIASES and field == "value" and node.col_offset == 0
        case ast.Expr(value=ast.Yield(value=value)) if _sentence(value):
            return True
        case ast.FormattedValue():
            return field == "format_spec"
    return False


def _is_text(child: ast.AST, parent: ast.AST) -> bool:
    """A docstring, a sentence, or a string standing where only texts stand."""
    if isinstance(parent, ast.Expr) and isinstance(child, ast.Constant):
        return True
    if isinstance(child, ast.keyword) and child.arg == "strict":
        return True
    if isinstance(parent, ast.Call) and isinstance(parent.func, ast.Attribute) and parent.func.attr in _OF_COLUMNS:
        return isinstance(child, ast.Constant) and isinstance(child.value, str)
    if isinstance(parent, ast.keyword) and parent.arg in ("on", "subset"):
        return True
    return isinstance(child, ast.Constant | ast.JoinedStr | ast.BinOp) and _sentence(child)


def _sentence(node: ast.AST | None) -> bool:
    """Three words or more are for people."""
    if node is None:
        return False
    texts = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    kinds = (ast.Constant, ast.JoinedStr, ast.BinOp)
    said = "{}".join(texts)
    return isinstance(node, kinds) and len([w for w in said.split() if any(c.isalpha() for c in w)]) > 2


def _changes(node: ast.AST):
    """(operator, function from a copy of the node to what takes its place; None removes it)."""
    match node:
        case ast.Compare():
            for at, op in enumerate(node.ops):
                for new in _COMPARE[type(op)]:
                    yield "comparison", lambda n, at=at, new=new: _with(n, "ops", at, new())
        case ast.BinOp() | ast.AugAssign() if type(node.op) in _ARITHMETIC and not _on_text(node):
            yield "arithmetic", lambda n: _set(n, op=_ARITHMETIC[type(n.op)]())
        case ast.BoolOp():
            yield "boolean", lambda n: _set(n, op=ast.Or() if isinstance(n.op, ast.And) else ast.And())
        case ast.UnaryOp():
            yield "operator removed", lambda n: n.operand
        case ast.Constant(value=bool()):
            yield "constant", lambda n: ast.Constant(not n.value)
        case ast.Constant(value=int() | float()):
            yield "constant", lambda n: ast.Constant(n.value + 1)
        case ast.Constant(value=str() | bytes() as value) if value:
            yield "string", lambda n: ast.Constant(n.value + ("X" if isinstance(n.value, str) else b"X"))
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield "returns None", lambda n: ast.Return(ast.Constant(None))
        case ast.Attribute(attr=name) if name in _NAMES:
            yield "name", lambda n: _set(n, attr=_NAMES[n.attr])
        case ast.Call(func=ast.Name(id=name)) if name in _NAMES:
            yield "name", lambda n: _set(n, func=ast.Name(_NAMES[n.func.id], ast.Load()))
        case ast.Continue():
            yield "break", lambda n: ast.Break()
    match node:
        case ast.Expr(value=ast.Call() | ast.Yield()) | ast.Raise() | ast.AugAssign() | ast.Break() | ast.Delete():
            yield "statement removed", lambda n: ast.Pass()
        case ast.Expr(value=ast.YieldFrom()) | ast.Continue():
            yield "statement removed", lambda n: ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "statement removed", lambda n: ast.Pass()
        case ast.If() | ast.IfExp():
            yield "condition", lambda n: _set(n, test=ast.UnaryOp(ast.Not(), n.test))
        case ast.comprehension(ifs=[_, *_]):
            yield "condition", lambda n: _set(n, ifs=[])
    if isinstance(node, ast.keyword) and node.arg:
        yield "argument removed", lambda n: None


def _on_text(node: ast.BinOp | ast.AugAssign) -> bool:
    return any(isinstance(n, ast.JoinedStr) or isinstance(n, ast.Constant) and isinstance(n.value, str)
               for side in ("left", "right", "value") for n in [getattr(node, side, None)])  # fmt: skip


def _set(node, **fields):
    for name, value in fields.items():
        setattr(node, name, value)
    return node


def _with(node, name: str, at: int, value):
    getattr(node, name)[at] = value
    return node
