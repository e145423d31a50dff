"""Check of the text in the JSON of an exported program (.pt2) before torch turns it into Python.

When torch reads a program, it evaluates the expressions of sizes (`sympy.sympify`), executes the guards, resolves the
operators below the module ``torch``, writes the names into the source of a function and imports the types of inputs
and outputs. Each of these texts is compared with what `torch.export.save` writes; everything else is refused.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

NAME = re.compile(r"[\w.+/ -]*", re.ASCII)
"""Names, paths of weights, versions and devices: no call, assignment, quote or line end can be written with these."""
EXPRESSION = re.compile(r"[\w ().,'+*/%<>=!-]{1,10000}", re.ASCII)
SIZE = re.compile(r"L(?:\['\w+'\]|\[\d+\])+(?:\.size\(\)\[\d+\]|\.stride\(\)\[\d+\]|\.storage_offset\(\))?", re.ASCII)
"""The size of an input, as guards name it: ``L['windows'].size()[0]``."""
SYMBOL = re.compile(r"[A-Za-z_]\w*|[0-9.]+", re.ASCII)
OPERATOR = re.compile(
    r"torch\.ops\.(?:aten|prims)\.(?!from_file\b|save\b)\w+\.[A-Za-z]\w*"
    r"|torch\.ops\.higher_order\.(?:associative_scan|cond|map_impl|scan|while_loop|wrap_with_\w+)"
    r"|torch\.sym_[a-z]+|math\.[a-z]\w*"
    r"|_operator\.(?:add|and_|eq|floordiv|ge|getitem|gt|le|lshift|lt|mod|mul|ne|neg|or_|pos|pow|rshift|sub|truediv)",
    re.ASCII,
)
"""Operators of tensors and sizes that touch no file."""
FUNCTIONS = frozenset((
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Max", "Min", "Mod", "Abs", "floor",
    "ceiling", "And", "Or", "Not", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality", "LessThan",
    "StrictLessThan", "GreaterThan", "StrictGreaterThan", "FloorDiv", "ModularIndexing", "Where", "PythonMod",
    "CleanDiv", "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow",
    "FloatTrueDiv", "IntTrueDiv", "TruncToFloat", "TruncToInt", "IsNonOverlappingAndDenseIndicator",
    "RoundToInt", "RoundDecimal", "ToFloat", "Identity",
))  # fmt: skip
"""Functions that torch writes into expressions of sizes."""
DEEPEST = 200
"""Maximum nesting depth of containers."""
TREE_TYPES = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
"""Types of inputs and outputs that are made without importing a module."""
UNUSED = ("metadata", "as_string", "as_strings")
"""Keys of texts that stay text: traces for people, and arguments of operators."""
_SYNTAX = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.UnaryOp, ast.USub, ast.UAdd, ast.Not,
    ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt,
    ast.LtE, ast.Gt, ast.GtE, ast.BoolOp, ast.And, ast.Or,
)  # fmt: skip


def first_code(program: bytes) -> str | None:
    """Return the first text in the JSON of a program that torch could run as code; None if it cannot be parsed."""
    try:
        document = json.loads(program.decode("utf-8"))  # as torch does
    except ValueError:
        return None
    except RecursionError:
        return "[" * 80
    return next(_code_in("", document), None)


def _code_in(key: str, value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the texts below a key of a document that could run as code."""
    if key in UNUSED:
        return
    if depth > DEEPEST:
        yield "[" * 80
        return
    if isinstance(value, dict):
        is_name = is_expression if key == "range_constraints" else NAME.fullmatch
        yield from (name for name in value if not is_name(name))
        for name, one in value.items():
            yield from _code_in(name, one, depth + 1)
    elif isinstance(value, list):
        for one in value:
            yield from _code_in(key, one, depth + 1)
    elif isinstance(value, str) and not _CHECKS.get(key, NAME.fullmatch)(value):
        yield value


def is_expression(text: str) -> bool:
    """Return whether a text only computes with numbers and symbols, as sizes and guards do."""
    text = SIZE.sub("s", text)
    if not EXPRESSION.fullmatch(text):
        return False
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, _SYNTAX) and _is_plain(node) for node in ast.walk(tree))


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return SYMBOL.fullmatch(node.value) is not None
    return True


def _is_tree(text: str) -> bool:
    """Return whether a text describes inputs or outputs by plain containers and names."""
    try:
        _, tree = json.loads(text)
        return _is_container(tree)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


def _is_container(tree: dict[str, Any]) -> bool:
    context = tree["context"]
    keys = json.loads(context) if isinstance(context, str) else context
    plain = keys is None or (isinstance(keys, list) and all(_is_key(key) for key in keys))
    return plain and tree["type"] in TREE_TYPES and all(_is_container(child) for child in tree["children_spec"])


def _is_key(key: Any) -> bool:
    return isinstance(key, int) or (isinstance(key, str) and NAME.fullmatch(key) is not None)


_CHECKS: dict[str, Callable[[str], object]] = {
    "expr_str": is_expression,
    "guards_code": is_expression,
    "target": OPERATOR.fullmatch,
    "as_operator": OPERATOR.fullmatch,
    "in_spec": _is_tree,
    "out_spec": _is_tree,
}
"""The check of a text by its key; a name is expected below every other key."""
