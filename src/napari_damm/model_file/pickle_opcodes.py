"""Replay the opcodes of a checkpoint's pickle; none is executed.

`pickletools` cuts the pickle into opcodes. A small stack machine knows plain containers and
tensors. A global is only a name to it, and whatever would call, create or set up anything else
leaves a `Placeholder`.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MOST_OPCODES = 2**20
"""A tensor takes some forty, and its optimiser three times as many."""


class CheckpointError(ValueError):
    """The file is not a checkpoint that we can read."""


@dataclass(frozen=True)
class Storage:
    """A flat array in the archive: `elements` numbers of a torch dtype, under `key`."""

    dtype: str
    key: str
    elements: int


@dataclass(frozen=True)
class StoredTensor:
    """A view of a storage as the pickle says it: anything may stand there."""

    storage: Storage
    offset: Any
    size: Any
    stride: Any


@dataclass(frozen=True)
class Global:
    """A name in the pickle that asks for an import. It stays a name."""

    module: str
    name: str


class Placeholder:
    """Stands for everything that we do not read."""


def replay(pickled: bytes) -> Any:
    """Replay a pickle's opcodes: plain containers, `StoredTensor`s, `Placeholder`s."""
    machine = _Machine()
    for number, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
        if number > MOST_OPCODES:
            raise CheckpointError(f"its pickle has more than {MOST_OPCODES} opcodes")
        if opcode.name in _LITERALS:
            machine.push(argument)
        elif opcode.name in _ACTIONS:
            _ACTIONS[opcode.name](machine, argument)
        elif opcode.name not in _NOTHING_TO_DO:
            raise CheckpointError(f"its pickle uses {opcode.name}, which no checkpoint needs")
    return machine.pop()


class _Machine:
    """The stack, the stacks below each mark, and the memo."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def push(self, value: Any) -> None:
        self._stack.append(value)

    def pop(self) -> Any:
        return self._stack.pop()

    def mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop_to_mark(self) -> list[Any]:
        items, self._stack = self._stack, self._below.pop()
        return items

    def discard(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._stack = self._below.pop()

    def discard_to_mark(self) -> None:
        self._stack = self._below.pop()

    def duplicate(self) -> None:
        self.push(self._stack[-1])

    def pop_tuple(self, n: int) -> None:
        self.push(tuple(reversed([self.pop() for _ in range(n)])))

    def remember(self, index: int | None) -> None:
        self._memo[len(self._memo) if index is None else index] = self._stack[-1]

    def recall(self, index: int) -> None:
        self.push(self._memo[index])

    def extend(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], list):
            self._stack[-1].extend(items)

    def update(self, items: list[Any]) -> None:
        if isinstance(self._stack[-1], dict):
            self._stack[-1].update(_plain_pairs(items))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        self.push(Global(str(module), str(name)))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        self.push(_call(function, arguments))

    def call_with_keywords(self) -> None:
        self.discard()
        self.call()

    def instantiate(self) -> None:
        self.discard_to_mark()
        self.push(Placeholder())


def _plain_pairs(items: list[Any]) -> dict[Any, Any]:
    """Pair up keys and values; only plain keys: hashing a tuple recurses as deep as it nests."""
    pairs = zip(items[::2], items[1::2], strict=True)
    return {k: v for k, v in pairs if k is None or isinstance(k, str | bytes | int | float)}


def _call(function: Any, arguments: Any) -> Any:
    """Answer the only calls that a state_dict needs; all others leave a placeholder."""
    match function, arguments:
        case Global("collections", "OrderedDict"), ():
            return {}
        case Global("torch._utils", "_rebuild_tensor_v2"), (Storage() as storage, o, s, t, *_):
            return StoredTensor(storage, o, s, t)
        case Global("torch._utils", "_rebuild_parameter"), (StoredTensor() as tensor, *_):
            return tensor
    return Placeholder()


def _storage(reference: Any) -> Any:
    """Resolve a persistent id: ('storage', dtype, key, device, elements)."""
    match reference:
        case "storage", Global("torch", kind), str(key), _, int(elements) if kind in _DTYPES:
            return Storage(_DTYPES[kind], key, elements)
    return Placeholder()


_DTYPES = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}

_NOTHING_TO_DO = {"PROTO", "FRAME", "STOP"}

# Opcodes whose argument is the value itself.
_LITERALS = {
    *("INT", "LONG", "LONG1", "LONG4", "BININT", "BININT1", "BININT2", "FLOAT", "BINFLOAT"),
    *("UNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINUNICODE"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}

# Sets become lists: nothing is ever hashed but plain keys.
_ACTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "NONE": lambda m, _: m.push(None),
    "NEWTRUE": lambda m, _: m.push(True),
    "NEWFALSE": lambda m, _: m.push(False),
    "EMPTY_DICT": lambda m, _: m.push({}),
    "EMPTY_LIST": lambda m, _: m.push([]),
    "EMPTY_SET": lambda m, _: m.push([]),
    "EMPTY_TUPLE": lambda m, _: m.push(()),
    "MARK": lambda m, _: m.mark(),
    "DICT": lambda m, _: m.push(_plain_pairs(m.pop_to_mark())),
    "LIST": lambda m, _: m.push(m.pop_to_mark()),
    "FROZENSET": lambda m, _: m.push(m.pop_to_mark()),
    "TUPLE": lambda m, _: m.push(tuple(m.pop_to_mark())),
    "TUPLE1": lambda m, _: m.pop_tuple(1),
    "TUPLE2": lambda m, _: m.pop_tuple(2),
    "TUPLE3": lambda m, _: m.pop_tuple(3),
    "APPEND": lambda m, _: m.extend([m.pop()]),
    "APPENDS": lambda m, _: m.extend(m.pop_to_mark()),
    "ADDITEMS": lambda m, _: m.extend(m.pop_to_mark()),
    "SETITEM": lambda m, _: m.update([m.pop(), m.pop()][::-1]),
    "SETITEMS": lambda m, _: m.update(m.pop_to_mark()),
    "POP": lambda m, _: m.discard(),
    "POP_MARK": lambda m, _: m.discard_to_mark(),
    "DUP": lambda m, _: m.duplicate(),
    "PUT": lambda m, index: m.remember(index),
    "BINPUT": lambda m, index: m.remember(index),
    "LONG_BINPUT": lambda m, index: m.remember(index),
    "MEMOIZE": lambda m, _: m.remember(None),
    "GET": lambda m, index: m.recall(index),
    "BINGET": lambda m, index: m.recall(index),
    "LONG_BINGET": lambda m, index: m.recall(index),
    "GLOBAL": lambda m, name: m.push(Global(*name.split(" ", 1))),
    "STACK_GLOBAL": lambda m, _: m.stack_global(),
    "REDUCE": lambda m, _: m.call(),
    "NEWOBJ": lambda m, _: m.call(),
    "NEWOBJ_EX": lambda m, _: m.call_with_keywords(),
    "OBJ": lambda m, _: m.instantiate(),
    "INST": lambda m, _: m.instantiate(),
    "BUILD": lambda m, _: m.discard(),
    "BINPERSID": lambda m, _: m.push(_storage(m.pop())),
}
