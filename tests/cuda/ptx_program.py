"""A kernel in PTX, read and not run: its registers, labels, parameters and instructions."""

import re
from typing import Any, NamedTuple

from .ptx_instructions import PtxError, type_of

_ENDING = ("ret", "bra", "bra.uni")
_PARAMETER = re.compile(r"\.param\s+\.(\w+)\s+(?:\.ptr\s+\.align\s+\d+\s+)?(\w+)\s*(?:,|$)")
_CONSTANTS = re.compile(r"\.const\s+\.align (\d+) \.b8 (\w+)\[(\d+)\] = \{([^}]*)\}")
_OPERAND = re.compile(r"\s*(\{[^}]*\}|[^,{]+)\s*,?")


class Instruction(NamedTuple):
    """One line; `guard` is the name of a predicate, which must be false if `unless`."""

    guard: str | None
    unless: bool
    name: str
    operands: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name} {', '.join(self.operands)}"


class Kernel:
    """The only kernel of a PTX module, read and not run."""

    def __init__(self, ptx: str) -> None:
        text = re.sub(r"/\*.*?\*/|//[^\n]*", "", ptx, flags=re.DOTALL)
        self.registers: dict[str, Any] = {}
        self.labels: dict[str, int] = {}
        self.code: list[Instruction] = []
        self.shared: dict[str, int] = {}
        self.shared_bytes = 0
        for align, name, size in re.findall(r"\.shared\s+\.align (\d+) \.b8 (\w+)\[(\d+)\]", text):
            self.shared_bytes = -(-self.shared_bytes // int(align)) * int(align)
            self.shared[name] = self.shared_bytes
            self.shared_bytes += int(size)
        self.shared_bytes = -(-self.shared_bytes // 16) * 16
        self.constants = {  # the alignment and the bytes of each array
            name: (int(align), bytes(map(int, values.split(","))).ljust(int(size), b"\0"))
            for align, name, size, values in _CONSTANTS.findall(text)
        }
        entry = re.search(r"\.entry\s+(\w+)\s*\((.*?)\)[^{]*(\{.*)", text, re.DOTALL)
        if entry is None or text.count(".entry") != 1 or ".func" in text:
            raise PtxError("a module must hold one kernel and no function")
        self.name = entry[1]
        self.parameters = re.findall(_PARAMETER, entry[2])
        if len(self.parameters) != entry[2].count(".param"):
            raise PtxError("a parameter is not a plain number")
        scopes: list[dict[str, str]] = []
        for number, statement in enumerate(_statements(entry[3])):
            if statement == "{":
                scopes.append({})
            elif statement == "}":
                scopes.pop()
            elif statement.endswith(":"):
                self.labels[statement[:-1]] = len(self.code)
            elif statement.startswith(".reg"):
                self._declare(statement, scopes, number)
            elif statement.startswith("."):
                if statement.split()[0] not in (".loc", ".pragma", ".file"):
                    raise PtxError(f"unknown directive: {statement}")
            else:
                self.code.append(_instruction(statement, scopes))
        if scopes or not self.code or self.code[-1].guard or self.code[-1].name not in _ENDING:
            raise PtxError("the kernel's end was not found")

    def _declare(self, statement: str, scopes: list[dict[str, str]], number: int) -> None:
        _, kind, names = statement.split(None, 2)
        for name in (each.strip() for each in names.split(",")):
            several = re.fullmatch(r"(%\w+)<(\d+)>", name)
            if several:
                made = [f"{several[1]}{i}" for i in range(int(several[2]))]
            else:
                made = [f"{name}@{number}" if len(scopes) > 1 else name]
                scopes[-1][name] = made[0]
            self.registers.update(dict.fromkeys(made, type_of(kind[1:])))


def _statements(body: str) -> list[str]:
    """Return the braces, labels and instructions of a function's body, one each."""
    body = re.sub(r"(\$?\w+:)(?=\s)", r"\1;", body)
    body = re.sub(r"(?m)^\s*([{}])\s*$", r"\1;", body)  # a vector's braces do not stand alone
    return [part.strip() for part in body.split(";") if part.strip()]


def _instruction(statement: str, scopes: list[dict[str, str]]) -> Instruction:
    match = re.fullmatch(r"(?:@(!?)(%\w+)\s+)?([a-z][\w.]*)\s*(.*)", statement, re.DOTALL)
    if match is None:
        raise PtxError(f"cannot be read: {statement}")
    unless, guard, name, rest = match.groups()
    operands = []
    for operand in (part.strip() for part in _OPERAND.findall(rest)):
        if "|" in operand:
            raise PtxError(f"two results are not known: {statement}")
        for scope in scopes:
            operand = scope.get(operand, operand)
        operands.append(operand)
    return Instruction(guard, unless == "!", name, tuple(filter(None, operands)))


def parts(operand: str) -> list[str]:
    """Return the registers of a vector such as ``{%r1, %r2}``, or the one operand."""
    return [part.strip() for part in operand.strip("{}").split(",")]
