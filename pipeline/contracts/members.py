"""The parts that contracts share: optional functions, and names of other plug-ins."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator

from pipeline import plugins

Function = TypeVar("Function", bound=Callable[..., Any])


def optional(function: Function) -> Function:
    """Mark a function of a contract that a plug-in may leave out."""
    function.__dict__["optional"] = True
    return function


def is_optional(function: Callable[..., Any]) -> bool:
    """Whether a function of a contract is marked."""
    return bool(function.__dict__.get("optional"))


def _check(kind: str, name: str) -> str:
    if name not in plugins.names(kind):
        raise ValueError(plugins.unknown(plugins.KINDS[kind], name, plugins.names(kind)))
    return name


#: the name of a task, and of a transform
TaskName = Annotated[str, AfterValidator(functools.partial(_check, "tasks"))]
TransformName = Annotated[str, AfterValidator(functools.partial(_check, "augment.transforms"))]
