"""Whether a command line is one: parsed by the very parser that would run it, and not run."""

from __future__ import annotations

from functools import cache


def parse(words: list[str]) -> None:
    """AssertionError for a command, option or value that the command line does not take. Variables before it may be set."""
    words = [w for n, w in enumerate(words) if not (n == 0 and "=" in w)]
    assert words, "an empty command"
    if words[:2] == ["python", "-m"]:
        return _module(words[2], words[3:])
    if words[0] == "airflow":
        return _airflow(words[1:])
    raise AssertionError(f"no command of ours: {' '.join(words)}")


def _module(module: str, words: list[str]) -> None:
    import typer

    assert module in ("etl", "reports", "stack", "sandbox"), module
    app = __import__({"stack": "stack.__main__", "sandbox": "sandbox.__main__"}.get(module, f"{module}.cli"), fromlist=["app"]).app
    command, context = typer.main.get_command(app), None
    try:
        while True:
            context = command.make_context(command.name, list(words), parent=context)
            if not hasattr(command, "resolve_command"):
                return
            rest = [*getattr(context, "_protected_args", ()), *context.args]
            _, command, words = command.resolve_command(context, rest)
    except Exception as error:  # of the parser's own kind, which is typer's to choose
        raise AssertionError(f"python -m {module}: {error or type(error).__name__}") from error


@cache
def _parser():
    from airflow.cli.cli_parser import get_parser

    return get_parser()


def _airflow(words: list[str]) -> None:
    try:
        _parser().parse_args(words)
    except SystemExit as error:
        raise AssertionError(f"airflow {' '.join(words)}") from error
