"""A `NamedTuple` that is quick to import, and numbers out of JSON.

The one of `typing` costs a fifth of the whole time of a frequent command (CPython 3.11: 12 of 55 ms). Type checkers see
that one.
"""

from __future__ import annotations

from operator import itemgetter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NamedTuple

__all__ = ["NamedTuple", "as_number"]


def as_number(value: Any, default: float = 0.0) -> float:
    """A JSON value as a number; `default` if it is not one, or not finite, or a bool."""
    if type(value) is int or type(value) is float:
        return float(value) if -1e300 < value < 1e300 else default
    return default


_MISSING: Any = object()


class _Value(tuple):  # type: ignore[type-arg]
    """A tuple whose fields are the annotations of its class, in their order, with its assignments as defaults."""

    __slots__ = ()
    _fields: tuple[str, ...] = ()
    _template: tuple[Any, ...] = ()
    _places: dict[str, int] = {}  # noqa: RUF012 (each subclass sets its own)
    _needed = 0

    def __init_subclass__(cls) -> None:
        names = tuple(cls.__annotations__)
        cls._fields = names
        cls._template = tuple(cls.__dict__.get(name, _MISSING) for name in names)
        cls._places = {name: place for place, name in enumerate(names)}
        cls._needed = sum(value is _MISSING for value in cls._template)
        for index, name in enumerate(names):
            setattr(cls, name, property(itemgetter(index)))

    def __new__(cls, *given: Any, **named: Any) -> _Value:
        values = given + cls._template[len(given) :]
        if named:
            filled = list(values)
            for name, value in named.items():
                place = cls._places.get(name, -1)
                if place < len(given):
                    raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
                filled[place] = value
            values = tuple(filled)
        if len(given) > len(cls._fields) or (len(given) < cls._needed and any(one is _MISSING for one in values)):
            raise TypeError(f"{cls.__name__} has the fields {', '.join(cls._fields)}")
        return tuple.__new__(cls, values)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self._asdict().items())})"

    def _asdict(self) -> dict[str, Any]:
        return dict(zip(self._fields, self, strict=True))

    def _replace(self, **changes: Any) -> _Value:
        values = list(self)
        for name, value in changes.items():
            values[self._places[name]] = value
        return type(self)(*values)


if not TYPE_CHECKING:
    NamedTuple = _Value
