"""Parameters called otherwise than the hook's: passed where they are meant, or named in an error."""

from __future__ import annotations

import functools
import sys
from typing import Any

import pluggy
import pytest

from aiflow_ext.host.fit import DoesNotFit, fit, hook_of

TWO = ("sub_graph", "project_desc")


def decorated(function: Any) -> Any:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return call


def three(first, graph, project):
    assert first == "first"
    return graph, project


def with_self(self, sub_graph, project_desc, force=False):
    assert isinstance(self, Author)
    assert force
    return sub_graph, project_desc


class Caller:
    def __call__(self, graph, project):
        return graph, project


class Author:
    def exact(self, sub_graph, project_desc):
        return sub_graph, project_desc

    def renamed(self, graph, project):
        return graph, project

    def renamed_default(self, graph, project=None):
        return graph, project

    def swapped(self, project_desc, sub_graph):
        return sub_graph, project_desc

    def half_renamed_and_swapped(self, project_desc, graph):
        return graph, project_desc

    def default(self, sub_graph, project_desc=None):
        return sub_graph, project_desc

    def extra_default(self, sub_graph, project_desc, force=False):
        assert force is False
        return sub_graph, project_desc

    def anything(self, *args):
        return args

    def one_and_anything(self, graph, *rest):
        return (graph, *rest)

    def named_anything(self, **kwargs):
        return kwargs["sub_graph"], kwargs["project_desc"]

    def both(self, *args, **kwargs):
        assert not kwargs
        return args

    def keyword_only(self, *, sub_graph, project_desc):
        return sub_graph, project_desc

    def positional_only(self, graph, project, /):
        return graph, project

    @staticmethod
    def static(graph, project):
        return graph, project

    @classmethod
    def of_class(cls, graph, project):
        return graph, project

    def this_for_self(this, sub_graph, project_desc):
        return sub_graph, project_desc

    @decorated
    def wrapped(self, graph, project):
        return graph, project

    # Bound to the object from Python 3.14 on.
    partial = functools.partial(three, "first")
    partial_that_takes_self = functools.partial(with_self, force=True)
    partial_that_takes_no_self = functools.partial(lambda sub_graph, project_desc, n: (sub_graph, project_desc), n=1)
    partial_of_a_bound_method = functools.partial(Caller().__call__)
    static_partial = staticmethod(functools.partial(three, "first"))
    partial_method = functools.partialmethod(with_self, force=True)
    partial_method_of_a_static_one = functools.partialmethod(staticmethod(three), "first")
    caller = Caller()
    bound = Caller().__call__
    builtin = staticmethod("{} {}".format)

    @functools.lru_cache  # noqa: B019
    def cached(self, graph, project):
        return graph, project


@pytest.mark.parametrize("name", [name for name in vars(Author) if not name.startswith("__")])
def test_each_way_of_writing_two_parameters_gets_both(name: str) -> None:
    method = hook_of(Author(), name, TWO)
    # As pluggy calls it: the arguments that it names, in its order.
    given = {"sub_graph": "graph", "project_desc": "project"}
    names = pluggy._hooks.varnames(method)[0]
    assert set(names) <= set(TWO)
    said = method(*[given[one] for one in names])
    assert tuple(said.split() if isinstance(said, str) else said) == ("graph", "project")


def test_a_partial_of_the_object_itself_is_not_bound() -> None:
    author = Author()
    author.own = functools.partial(three, "first")  # type: ignore[attr-defined]
    assert hook_of(author, "own", TWO)("graph", "project") == ("graph", "project")


@pytest.mark.parametrize("annotation", ["Missing", "list[Missing.Inner]", "1 / 0", "no_such_module.Name | None"])
def test_annotations_are_not_evaluated(annotation: str) -> None:
    # Before Python 3.14 such a method is there only with the import.
    later = "" if sys.version_info >= (3, 14) else "from __future__ import annotations\n"
    namespace: dict[str, Any] = {}
    exec(f"{later}def generate(graph: {annotation}, project: {annotation}) -> {annotation}: return 1", namespace)
    assert fit(namespace["generate"], TWO)("graph", "project") == 1


def test_an_exact_method_pays_for_no_extra_call() -> None:
    author = Author()
    assert fit(author.exact, TWO) == author.exact


def test_a_method_may_take_less_of_what_is_named() -> None:
    assert fit(lambda: "stopped", ("job",))("a job") == "stopped"
    assert fit(lambda project_desc: project_desc, TWO)("graph", "project") == "project"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (lambda graph: None, "is not clear"),
        (lambda sub_graph, project_desc, token: None, "wants an argument 'token'"),
        (lambda sub_graph, project_desc, *, token: None, "wants an argument 'token'"),
    ],
)
def test_what_cannot_be_told_is_named(method: Any, message: str) -> None:
    with pytest.raises(DoesNotFit, match=message):
        fit(method, TWO)
