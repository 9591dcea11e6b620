"""Plain JSON values to typed dataclasses, with an error that names the wrong field."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def decode(kind: Any, value: Any, where: str = "card") -> Any:
    """`value` as the type `kind`: a dataclass, tuple, dict, Literal, union, number or string.

    Raises ValueError that names the field when the value is of another kind.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return value
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if origin in (Union, types.UnionType):
        return None if value is None else decode(arguments[0], value, where)
    if origin is Literal and value in arguments:
        return value
    if origin is tuple and isinstance(value, list):
        return _decode_tuple(arguments, value, where)
    if origin in (dict, Mapping) and isinstance(value, dict):
        key, item = arguments
        return {decode(key, k, where): decode(item, v, f"{where}.{k}") for k, v in value.items()}
    if kind is float and type(value) in (int, float):
        return float(value)
    if isinstance(kind, type) and type(value) is kind:
        return value
    raise ValueError(f"{where} is {value!r}, which is not {_describe(kind)}")


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise ValueError(f"{where} is {value!r}, which is not an object")
    hints = get_type_hints(kind)
    required = {
        f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING
    }
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{where} lacks {', '.join(missing)}")
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{where} has unknown entries {', '.join(unknown)}")
    return kind(**{name: decode(hints[name], v, f"{where}.{name}") for name, v in value.items()})


def _decode_tuple(arguments: tuple[Any, ...], value: list[Any], where: str) -> tuple[Any, ...]:
    kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(value):
        raise ValueError(f"{where} has {len(value)} entries, {len(kinds)} are needed")
    return tuple(decode(k, v, where) for k, v in zip(kinds, value, strict=True))


def _describe(kind: Any) -> str:
    choices = get_args(kind) if get_origin(kind) is Literal else ()
    if choices:
        return "one of " + ", ".join(map(repr, choices))
    return {float: "a number", int: "a whole number", str: "text"}.get(kind, f"a {kind}")
