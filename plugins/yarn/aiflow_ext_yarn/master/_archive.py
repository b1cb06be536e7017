"""The application master as one file, for nodes whose Python is older than ours."""

from __future__ import annotations

import ast
import functools
import io
import zipfile
from importlib import resources

MODULES = (
    "__init__", "credentials", "keeper", "main", "outcome", "protocol", "readiness", "rpc", "sasl", "spec", "staging",
    "wire",
)  # fmt: skip
SHARED = {"aiflow_ext.plugin": ("processes",), "aiflow_ext.supervise": ("kernel", "proc", "sweep")}
MAIN = "import sys\nfrom aiflow_ext_yarn.master.main import main\nsys.exit(main(sys.argv[1:]))\n"


@functools.lru_cache(maxsize=1)
def build() -> bytes:
    """The bytes of the file; equal for equal sources and the same Python."""
    files = {
        "__main__.py": MAIN,
        "aiflow_ext/__init__.py": "",
        **{f"{package.replace('.', '/')}/__init__.py": "" for package in SHARED},
        "aiflow_ext_yarn/__init__.py": "",
    }
    for package, modules in {"aiflow_ext_yarn.master": MODULES, **SHARED}.items():
        for module in modules:
            source = resources.files(package).joinpath(f"{module}.py").read_text(encoding="utf-8")
            files[f"{package.replace('.', '/')}/{module}.py"] = _plain(source)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name in sorted(files):
            file.writestr(zipfile.ZipInfo(name), files[name], zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _plain(source: str) -> str:
    """The source without annotations and docstrings, which Python 3.6 may not support and which run time does not
    need."""
    return ast.unparse(ast.fix_missing_locations(_Plain().visit(ast.parse(source)))) + "\n"


class _Plain(ast.NodeTransformer):
    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        arguments = node.args
        for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            argument.annotation = None
        for rest in (arguments.vararg, arguments.kwarg):
            if rest is not None:
                rest.annotation = None
        return self._without_docstring(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        return self._without_docstring(node)

    def visit_Module(self, node: ast.Module) -> ast.AST:
        return self._without_docstring(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        return ast.Assign([node.target], node.value) if node.value is not None else None

    def _without_docstring(self, node: ast.FunctionDef | ast.ClassDef | ast.Module) -> ast.AST:
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        self.generic_visit(node)
        return node
