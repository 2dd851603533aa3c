"""The part of a module's syntax tree that can change a result.

Docstrings, comments, format, annotations, log calls, assert messages and the wording of errors can't.
"""

import ast

#: annotations on which a dataclass acts
MEANINGFUL = ("ClassVar", "InitVar", "KW_ONLY")
LOGGERS = ("log", "logger", "logging", "warnings")
LEVELS = ("debug", "info", "warning", "error", "exception", "critical", "warn")


def strip(tree: ast.Module) -> ast.Module:
    """The tree without what can't change a result; the tree that was given is changed."""
    stripped: ast.Module = _Stripped().visit(tree)
    return stripped


class _Stripped(ast.NodeTransformer):
    def __init__(self) -> None:
        self._class_fields: set[int] = set()

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """A block that would be empty gets a `pass`."""
        changed = super().generic_visit(node)
        if getattr(changed, "body", None) == [] and not isinstance(changed, ast.Module):
            changed.body = [ast.Pass()]  # type: ignore[attr-defined]
        return changed

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        """Without docstrings and log calls."""
        return None if isinstance(node.value, ast.Constant) or _logs(node.value) else self.generic_visit(node)

    def visit_If(self, node: ast.If) -> ast.AST | None:
        """Without imports for annotations, and without what runs only as a script."""
        test = ast.unparse(node.test)
        unused = test in ("TYPE_CHECKING", "typing.TYPE_CHECKING") or test.startswith("__name__ == ")
        return None if unused and not node.orelse else self.generic_visit(node)

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        """Without texts, and what is formatted into them."""
        return self.generic_visit(_Wordless().visit(node))

    def visit_Assert(self, node: ast.Assert) -> ast.AST:
        """Without the message."""
        node.msg = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Without the annotation."""
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        """Without the annotation of what it returns."""
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        """Without the annotation of what it returns."""
        node.returns = None
        return self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """Fields of a dataclass stay fields."""
        self._class_fields |= {id(item) for item in node.body}
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        """Without the annotation, unless a dataclass acts on it."""
        if id(node) in self._class_fields:
            if not any(word in ast.unparse(node.annotation) for word in MEANINGFUL):
                node.annotation = ast.Constant(value=...)
            return self.generic_visit(node)
        if node.value is None:
            return None
        return self.generic_visit(ast.copy_location(ast.Assign(targets=[node.target], value=node.value), node))


class _Wordless(ast.NodeTransformer):
    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        """An f-string becomes empty."""
        return ast.Constant(value="")

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A text becomes empty."""
        return ast.Constant(value="") if isinstance(node.value, str) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        """A text put together of several is one."""
        changed = self.generic_visit(node)
        assert isinstance(changed, ast.BinOp)
        sides = changed.left, changed.right
        empty = [isinstance(side, ast.Constant) and side.value == "" for side in sides]
        return ast.Constant(value="") if all(empty) else changed


def _logs(node: ast.expr) -> bool:
    """Whether this is `log.info(…)` or the like."""
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
        return False
    return node.func.attr in LEVELS and ast.unparse(node.func.value) in LOGGERS
