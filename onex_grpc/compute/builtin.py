"""The algorithms that every compute node has: sum, average, min, max, count, sort."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from onex_grpc.compute.registry import AlgorithmRegistry

if TYPE_CHECKING:
    from collections.abc import Collection

    from onex_grpc.compute.algorithm import ComputeInput
    from onex_grpc.contract.data import JSON


def builtin_algorithms() -> AlgorithmRegistry:
    """A new registry of the built-in algorithms."""
    registry = AlgorithmRegistry()
    registry.register("sum", total)
    registry.register("average", average)
    registry.register("min", smallest)
    registry.register("max", largest)
    registry.register("count", count)
    registry.register("sort", ordered)
    return registry


def total(data: ComputeInput) -> float:
    """The sum of a list of numbers, rounded once (Shewchuk, math.fsum); 0.0 of an empty one."""
    return _sum_of(data, _numbers(data))


def average(data: ComputeInput) -> float:
    """The arithmetic mean of a list of at least one number."""
    numbers = _some_numbers(data)
    return _sum_of(data, numbers) / len(numbers)


def smallest(data: ComputeInput) -> float:
    """The least of at least one number."""
    return min(_some_numbers(data))


def largest(data: ComputeInput) -> float:
    """The greatest of at least one number."""
    return max(_some_numbers(data))


def count(data: ComputeInput) -> int:
    """The length of a list of anything."""
    _only_parameters(data, ())
    return len(_list(data))


def ordered(data: ComputeInput) -> list[JSON]:
    """A list of numbers in ascending order.

    Parameters: `descending` (true or false) turns the order round; `key` (text) makes it a list of
    objects, sorted by that field, whose values are all numbers or all text; equal ones keep their
    order.
    """
    parameters = _only_parameters(data, ("descending", "key"))
    descending = parameters.get("descending", False)
    if not isinstance(descending, bool):
        raise _bad_parameter(data, "descending", "is not true or false")
    key = parameters.get("key")
    if key is None:
        numbers: list[JSON] = [*sorted(_all_numbers(data), reverse=descending)]
        return numbers
    if not isinstance(key, str):
        raise _bad_parameter(data, "key", "is not the name of a field")
    return _by_field(data, key, descending)


def _by_field(data: ComputeInput, key: str, descending: bool) -> list[JSON]:
    texts: list[tuple[str, int]] = []
    numbers: list[tuple[float, int]] = []
    items = _list(data)
    for index, item in enumerate(items):
        value = item.get(key) if isinstance(item, dict) else None
        if isinstance(value, str):
            texts.append((value, index))
        elif isinstance(value, float):
            numbers.append((value, index))
        else:
            raise data.invalid(
                f"is no object whose {key!r} is a number or text", f"input_data[{index}]"
            )
    if texts and numbers:
        raise data.invalid(f"has numbers and text in {key!r}; sort one kind at a time")
    positions = [*_order(texts, descending), *_order(numbers, descending)]
    return [items[index] for index in positions]


def _order(values: list[tuple[str, int]] | list[tuple[float, int]], descending: bool) -> list[int]:
    return [index for _, index in sorted(values, key=lambda pair: pair[0], reverse=descending)]


def _sum_of(data: ComputeInput, numbers: list[float]) -> float:
    try:
        return math.fsum(numbers)
    except OverflowError:
        raise data.invalid("has a sum beyond the largest double") from None


def _numbers(data: ComputeInput) -> list[float]:
    _only_parameters(data, ())
    return _all_numbers(data)


def _some_numbers(data: ComputeInput) -> list[float]:
    numbers = _numbers(data)
    if not numbers:
        raise data.invalid("is an empty list; at least one number is needed")
    return numbers


def _all_numbers(data: ComputeInput) -> list[float]:
    numbers = []
    for index, item in enumerate(_list(data)):
        if not isinstance(item, float) or not math.isfinite(item):
            raise data.invalid(f"{item!r:.60} is not a number", f"input_data[{index}]")
        numbers.append(item)
    return numbers


def _list(data: ComputeInput) -> list[JSON]:
    value = data.value()
    if not isinstance(value, list):
        raise data.invalid("is not a list; give JSON-like data such as [1, 2, 3]")
    return value


def _only_parameters(data: ComputeInput, known: Collection[str]) -> dict[str, JSON]:
    parameters = data.parameters
    for name in parameters:
        if name not in known:
            takes = ", ".join(known) or "none"
            raise _bad_parameter(
                data, name, f"is not a parameter of this algorithm; it takes {takes}"
            )
    return parameters


def _bad_parameter(data: ComputeInput, name: str, fault: str) -> Exception:
    return data.invalid(fault, f"algorithm_config.parameters.{name}")
