"""The project's workflow.py as a module of a job, under the name that it has on the client. Runs inside jobs.

A package that it imports and that is missing here breaks only what uses it: workflow.py builds the graph on the client,
with packages that jobs may do without.
"""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from typing import Any, NoReturn

_loading = False


def load(name: str, file: str, namespace: dict[str, Any]) -> None:
    """Execute workflow.py in the namespace of its module.

    Args:
        name: the module's name.
        file: the path of workflow.py.
        namespace: the module's ``__dict__``.
    """
    global _loading
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    namespace.update(__file__=file, __spec__=spec, __loader__=spec.loader, __cached__=None)
    with open(file, "rb") as opened:
        tree = ast.parse(opened.read(), file)
    tree.body = [each for statement in tree.body for each in _tolerant(statement)]
    namespace["__aiflow_missing__"] = lambda error, name: namespace.setdefault(name, Missing(error))
    _loading = True
    try:
        exec(compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True), namespace)
    finally:
        _loading = False
        del namespace["__aiflow_missing__"]


def _tolerant(statement: ast.stmt) -> Iterator[ast.stmt]:
    """Imports whose names, if they fail, are bound to an object that raises the error on use; one for each name."""
    is_from = isinstance(statement, ast.ImportFrom) and statement.module not in (None, "__future__")
    if not isinstance(statement, ast.Import) and not is_from:
        yield statement
        return
    assert isinstance(statement, (ast.Import, ast.ImportFrom))
    for alias in statement.names:
        if isinstance(statement, ast.Import):
            one: ast.stmt = ast.Import([alias])
            name = alias.asname or alias.name.partition(".")[0]
        else:
            one = ast.ImportFrom(statement.module, [alias], statement.level)
            name = alias.asname or alias.name
        if name == "*":
            yield statement
            return
        arguments: list[ast.expr] = [ast.Name("__aiflow_error__", ast.Load()), ast.Constant(name)]
        bind = ast.Expr(ast.Call(ast.Name("__aiflow_missing__", ast.Load()), arguments, []))
        handler = ast.ExceptHandler(ast.Name("ImportError", ast.Load()), "__aiflow_error__", [bind])
        made = ast.Try([ast.copy_location(one, statement)], [handler], [], [])
        yield ast.copy_location(made, statement)


class Missing:
    """A name whose import has failed. It may be named while workflow.py is executed; afterwards its use is an error."""

    def __init__(self, error: ImportError) -> None:
        self._error = error

    def _used(self) -> Missing:
        if not _loading:
            self._fail()
        return self

    def _fail(self) -> NoReturn:
        error: ImportError = self._error
        kind = ModuleNotFoundError if isinstance(error, ModuleNotFoundError) else ImportError
        raise kind(f"{error} (imported at the top of workflow.py)", name=error.name, path=error.path)

    def __getattr__(self, name: str) -> Missing:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._used()

    def __call__(self, *args: Any, **kwargs: Any) -> Missing:
        return self._used()

    def __getitem__(self, key: Any) -> Missing:
        return self._used()

    def __or__(self, other: Any) -> Missing:
        return self._used()

    __ror__ = __or__

    def __mro_entries__(self, bases: Any) -> tuple[type, ...]:
        self._used()
        return (type("Missing", (), {"__new__": lambda cls, *args, **kwargs: self._fail()}),)

    def __bool__(self) -> bool:  # noqa: PLE0304
        self._fail()

    def __iter__(self) -> NoReturn:
        self._fail()

    def __reduce__(self) -> NoReturn:
        self._fail()
