"""Runs PTX without a GPU: what a kernel's compiled code computes, to the last bit.

The registers of all threads of a launch are NumPy arrays, and an instruction is done at once for
all threads that stand at it. Floating point is exact IEEE 754. These end a run with a `PtxError`:

- an instruction that is not known;
- an address outside the arrays given, or the constants, or not aligned;
- shared memory read before it is written;
- threads of a warp that wait for each other in vain;
- two threads that use one address, one of them writing, with no barrier between them.

Nothing is assumed of the order in which threads run, except that the threads of a warp wait for
each other at ``bar.warp.sync`` and ``vote.sync``; only the first orders memory. `Run.run` takes the
threads in any order that a generator chooses.

Examples
--------
>>> out = np.zeros(64, np.float32)
>>> run = launch(Kernel(EXAMPLE), (1, 64), (out, np.uint32(3)))
>>> out[:4]
array([0., 3., 6., 9.], dtype=float32)
"""

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .ptx_instructions import BITS, PtxError, operation, rsqrt, type_of
from .ptx_memory import POISON, WARP, Memory, address_space
from .ptx_program import Instruction, Kernel, parts

ALL_LANES = 0xFFFFFFFF
END = 1 << 30  # where threads stand that have returned

_INLINE = re.compile(r"0f([0-9A-Fa-f]{8})|0d([0-9A-Fa-f]{16})")
_ADDRESS = re.compile(r"\[\s*([^\s+\]]+)(?:\+(-?\d+))?\s*\]")

EXAMPLE = """
.visible .entry example(.param .u64 p0, .param .u64 p1, .param .u64 p2, .param .u64 p3,
    .param .u64 p4, .param .u64 p5, .param .u64 p6, .param .u32 factor)
{
    .reg .b32 %r<4>;
    .reg .f32 %f<2>;
    .reg .b64 %rd<4>;
    ld.param.u64 %rd1, [p4];
    ld.param.u32 %r1, [factor];
    mov.u32 %r2, %tid.x;
    mul.lo.s32 %r3, %r2, %r1;
    cvt.rn.f32.s32 %f1, %r3;
    mul.wide.u32 %rd2, %r2, 4;
    add.s64 %rd3, %rd1, %rd2;
    st.global.f32 [%rd3], %f1;
    ret;
}
"""  # Numba passes an array as seven numbers, of which the fifth is its address


def _loaded(values: Any, register: Any) -> Any:
    """Return values as a load puts them into a register: their bits, in a wider one extended.

    A register is declared with any type of its width; compilers differ in which they take.
    """
    if values.dtype.itemsize == register.dtype.itemsize:
        return values.view(register.dtype)
    if values.dtype.kind == "f":
        raise PtxError("a float in a wider register")
    return values.astype(BITS[str(8 * register.dtype.itemsize)]).view(register.dtype)


def launch(
    kernel: Kernel,
    configuration: tuple[int, int],
    arguments: Sequence[Any],
    order: np.random.Generator | None = None,
    root: Callable[[Any], Any] = rsqrt,
) -> "Run":
    """Run a kernel on NumPy arrays, which it changes in place; return the finished run.

    Parameters
    ----------
    kernel : Kernel
    configuration : (int, int)
        Blocks, and threads in a block.
    arguments : sequence
        Contiguous arrays, numbers, and tuples of numbers.
    order : numpy.random.Generator, optional
        Chooses which threads go on; without one those that are behind do.
    root : callable, optional
        What stands for ``rsqrt.approx.ftz.f32``.
    """
    flat, memories = address_space(arguments)
    run = Run(kernel, *configuration, flat, [memory for memory, _ in memories], root)
    run.run(order)
    for memory, array in memories:
        array.reshape(-1).view(np.uint8)[...] = memory.bytes
    return run


class Run:
    """A launch of a kernel.

    Parameters
    ----------
    kernel : Kernel
    blocks, threads : int
        The latter in a block, a multiple of 32.
    arguments : sequence of numbers
        One for each parameter of the kernel.
    memories : sequence of Memory
        All global memory there is.
    root : callable, optional
        What stands for ``rsqrt.approx.ftz.f32``.

    Attributes
    ----------
    executed : int64 array
        How often a warp, or a part of one, did each instruction.
    """

    def __init__(
        self,
        kernel: Kernel,
        blocks: int,
        threads: int,
        arguments: Sequence[Any],
        memories: Sequence[Memory],
        root: Callable[[Any], Any] = rsqrt,
    ) -> None:
        if threads % WARP or len(arguments) != len(kernel.parameters):
            raise PtxError(f"{threads} threads, {len(arguments)} arguments")
        self.kernel, self.size, self.root = kernel, blocks * threads, root
        self.memories = memories
        self.threads = np.arange(self.size)
        self.blocks = self.threads // threads
        lane = self.threads % WARP
        self.registers = {
            name: np.full(self.size * np.dtype(kind).itemsize, POISON, np.uint8).view(kind)
            for name, kind in kernel.registers.items()
        }
        for name, value in {
            "%tid.x": self.threads % threads,
            "%ntid.x": threads,
            "%ctaid.x": self.blocks,
            "%nctaid.x": blocks,
            "%laneid": lane,
            "%lanemask_lt": (1 << lane) - 1,
        }.items():
            self.registers[name] = np.broadcast_to(np.asarray(value, np.uint32), self.size)
        self.arguments = {
            name: np.array([value]).astype(type_of(kind))
            for (kind, name), value in zip(kernel.parameters, arguments, strict=True)
        }
        widths = {type_of(line.name.split(".")[-1])().itemsize for line in kernel.code
                  if line.name[:9] in ("ld.shared", "st.shared")}  # fmt: skip
        self.shared = Memory(blocks * kernel.shared_bytes, min(widths, default=8))
        self.at = np.zeros(self.size, np.int64)  # each thread's instruction
        self.waits = np.zeros(self.size, np.bool_)
        self.barriers = np.zeros(self.size, np.int64)  # passed by each thread's warp
        self.executed = np.zeros(len(kernel.code), np.int64)
        self._steps = [self._step(i, each) for i, each in enumerate(kernel.code)]
        joins = set(kernel.labels.values())
        self._leads = [i in joins or self._steps[i] is None for i in range(len(kernel.code))]

    def run(self, order: np.random.Generator | None = None, most: int = 10**6) -> None:
        """Run all threads to their ends: first those that are behind, or in a random order."""
        with np.errstate(all="ignore"):
            self._run(order, most)

    def _run(self, order: np.random.Generator | None, most: int) -> None:
        for _ in range(most):
            ready = np.flatnonzero(~self.waits & (self.at < END))
            if not ready.size:
                if not self.waits.any():
                    return
                self._meet()
                continue
            stands = self.at[ready]
            if order is None:
                self._advance(ready[stands == stands.min()])
            else:
                chosen = ready[stands == order.choice(stands)]
                kept = chosen[order.random(chosen.size) < order.choice([0.1, 0.6, 1.0])]
                self._advance(kept if kept.size else chosen[:1])
                if order.random() < 0.5:
                    self._meet(patient=True)
        raise PtxError(f"not done after {most} steps")

    def _advance(self, threads: Any) -> None:
        """Run threads that stand at one instruction up to the next branch, label or barrier."""
        place = int(self.at[threads[0]])
        warps = 1 + np.count_nonzero(np.diff(threads // WARP))
        which = slice(None) if threads.size == self.size else threads
        while True:
            self.executed[place] += warps
            step = self._steps[place]
            if step is None:  # a branch, a barrier or the end
                self._turn(self.kernel.code[place], place, threads)
                return
            step(which)
            place += 1
            if self._leads[place]:
                self.at[threads] = place
                return

    def _turn(self, line: Instruction, place: int, threads: Any) -> None:
        taken = np.ones(threads.size, np.bool_)
        if line.guard:
            taken = self.registers[line.guard][threads] != line.unless
        if line.name == "ret":
            self.at[threads] = np.where(taken, END, place + 1)
        elif line.name.startswith("bra"):
            self.at[threads] = np.where(taken, self.kernel.labels[line.operands[0]], place + 1)
        else:
            self.waits[threads], self.at[threads] = True, place

    def _meet(self, patient: bool = False) -> None:
        """Let warps go on whose threads all wait at one barrier; if not `patient`, all must."""
        waits, at = self.waits.reshape(-1, WARP), self.at.reshape(-1, WARP)
        some, every = waits.any(1), waits.all(1) & (at == at[:, :1]).all(1)
        if (some & ~every).any() and not patient:
            warp = int(np.flatnonzero(some & ~every)[0])
            raise PtxError(f"the threads of warp {warp} wait at {set(at[warp].tolist())}")
        for place in np.unique(at[every, 0]):
            warps = np.flatnonzero(every & (at[:, 0] == place))
            threads = (warps[:, None] * WARP + np.arange(WARP)).reshape(-1)
            line = self.kernel.code[place]
            mask = self._read(line.operands[-1], np.uint32)(threads)
            if np.any(mask != ALL_LANES):
                raise PtxError(f"{line}: not all lanes take part")
            if line.name == "vote.sync.ballot.b32":
                votes = self._read(line.operands[1], np.bool_)(threads).reshape(-1, WARP)
                total = (votes.astype(np.uint64) << np.arange(WARP, dtype=np.uint64)).sum(1)
                self._write(line.operands[0], np.uint32)(threads, np.repeat(total, WARP))
            else:
                self.barriers[threads] += 1
            self.waits[threads], self.at[threads] = False, place + 1

    def _read(self, operand: str, kind: Any) -> Callable[[Any], Any]:
        """Return a function that reads an operand, as a type, for some threads."""
        register = self.registers.get(operand)
        if register is not None:
            if register.dtype.itemsize != np.dtype(kind).itemsize:
                raise PtxError(f"{operand} is not {np.dtype(kind)}")
            view = register.view(kind)
            return lambda threads: view[threads]
        inline = _INLINE.fullmatch(operand)
        if inline:
            bits = np.uint32(int(inline[1], 16)) if inline[1] else np.uint64(int(inline[2], 16))
            if bits.dtype.itemsize != np.dtype(kind).itemsize:
                raise PtxError(f"{operand} is not {np.dtype(kind)}")
            constant = np.array([bits]).view(kind)
        elif operand in self.kernel.shared:
            constant = np.array([self.kernel.shared[operand]]).astype(kind)
        elif re.fullmatch(r"-?\d+|0x[0-9A-Fa-f]+U?", operand):
            constant = np.array([int(operand.rstrip("U"), 0) % 2**64], np.uint64).astype(kind)
        else:
            raise PtxError(f"unknown operand {operand}")
        return lambda threads: constant

    def _write(self, operand: str, kind: Any) -> Callable[[Any, Any], None]:
        register = self.registers[operand]
        if register.dtype.itemsize != np.dtype(kind).itemsize:
            raise PtxError(f"{operand} is not {np.dtype(kind)}")
        view = register.view(kind)

        def write(threads: Any, values: Any) -> None:
            view[threads] = values

        return write

    def _step(self, place: int, line: Instruction) -> Callable[[Any], None] | None:
        """Return what an instruction does, given threads; None if it decides where they go."""
        if line.name in ("bra", "bra.uni", "ret", "bar.warp.sync", "vote.sync.ballot.b32"):
            if line.guard and line.name not in ("bra", "ret"):
                raise PtxError(f"{line}: is not known with a guard")
            return None
        try:
            if line.name.startswith(("ld.", "st.")):
                step = self._access(line, f"{place}: {line}")
            elif line.name == "mov.b64" and any("{" in operand for operand in line.operands):
                step = self._pack(*line.operands)
            else:
                step = self._compute(line)
        except (KeyError, ValueError, PtxError) as error:
            raise PtxError(f"{place}: {line}: {error}") from error
        if line.guard is None:
            return step
        guard, unless = self.registers[line.guard], line.unless

        def guarded(threads: Any) -> None:
            chosen = self.threads[threads][guard[threads] != unless]
            if chosen.size:
                step(chosen)

        return guarded

    def _compute(self, line: Instruction) -> Callable[[Any], None]:
        function, result, kinds = operation(line.name, self.root)
        target, *sources = line.operands
        if len(sources) != len(kinds):
            raise PtxError("the number of operands is wrong")
        reads = [self._read(each, kind) for each, kind in zip(sources, kinds, strict=True)]
        write = self._write(target, result)

        def step(threads: Any) -> None:
            write(threads, function(*[read(threads) for read in reads]))

        return step

    def _pack(self, target: str, source: str) -> Callable[[Any], None]:
        """Return a move of two words into a register of 64 bits, or out of it."""
        word = np.uint64(32)
        if "{" in source:
            low, high = (self._read(each, np.uint32) for each in parts(source))
            write = self._write(target, np.uint64)
            return lambda threads: write(
                threads, high(threads).astype(np.uint64) << word | low(threads).astype(np.uint64)
            )
        read = self._read(source, np.uint64)
        writes = [None if each == "_" else self._write(each, np.uint32) for each in parts(target)]

        def split(threads: Any) -> None:
            value = read(threads)
            for half, write in enumerate(writes):
                if write:
                    write(threads, (value >> np.uint64(32 * half)).astype(np.uint32))

        return split

    def _access(self, line: Instruction, where: str) -> Callable[[Any], None]:
        verb, space, *modifiers, name = line.name.split(".")
        kind = np.dtype(type_of(name))
        bracket, vector = line.operands if verb == "st" else line.operands[::-1]
        match = _ADDRESS.fullmatch(bracket)
        if match is None:
            raise PtxError(f"unknown address {bracket}")
        names = parts(vector)
        registers = [self.registers[each] for each in names]
        if any(register.dtype.itemsize < kind.itemsize for register in registers):
            raise PtxError("the register is too small")
        if [each for each in modifiers if each != "nc"] != {1: [], 2: ["v2"], 4: ["v4"]}[
            len(names)
        ]:
            raise PtxError("is not how memory is accessed")
        if space == "param":
            value = self.arguments[match[1]]
            if verb == "st" or modifiers or value.dtype.itemsize != kind.itemsize or match[2]:
                raise PtxError("is not how a parameter is read")
            register = registers[0]
            value = _loaded(value.view(kind), register)
            return lambda threads: register.__setitem__(threads, value)
        if space == "const":
            if verb == "st":
                raise PtxError("constants are not written")
            values = self._constants(match[1], int(match[2] or 0), kind, len(names))
            loaded = [
                _loaded(*each) for each in zip(np.split(values, len(names)), registers, strict=True)
            ]

            def load(threads: Any) -> None:
                for register, value in zip(registers, loaded, strict=True):
                    register[threads] = value

            return load
        if space not in ("global", "shared"):
            raise PtxError(f"unknown memory {space}")
        address, offset = self._read(match[1], np.uint64), np.uint64(int(match[2] or 0) % 2**64)
        nbytes = kind.itemsize * len(names)

        def access(threads: Any) -> None:
            moment = self.threads[threads]
            if not moment.size:
                return
            found = np.broadcast_to(address(threads) + offset, moment.shape)
            for memory, some in self._memory(space, found, moment, where):
                at = memory.units(found[some] if space == "global" else self._shared_address(
                    found[some], moment[some], where), nbytes, where)  # fmt: skip
                who = moment[some]
                step = kind.itemsize // memory.width
                for i, register in enumerate(registers):
                    self._move(verb, memory, kind, at + i * step, step, who, register, where)

        return access

    def _constants(self, name: str, offset: int, kind: np.dtype, count: int) -> Any:
        """Return elements that follow each other in an array of constant memory."""
        align, held = self.kernel.constants[name]
        nbytes = kind.itemsize * count
        if not 0 <= offset <= len(held) - nbytes:
            raise PtxError("an address outside the constants")
        if align % nbytes or offset % nbytes:
            raise PtxError(f"an address is no multiple of {nbytes}")
        return np.frombuffer(held, kind, count, offset)

    def _memory(self, space: str, addresses: Any, threads: Any, where: str) -> list[Any]:
        """Return the memories that addresses are in, each with the indices of those addresses."""
        if space == "shared":
            return [(self.shared, slice(None))]
        found, missing = [], addresses.size
        for memory in self.memories:
            offsets = addresses - np.uint64(memory.address)  # below the address: a huge number
            inside = offsets < np.uint64(memory.bytes.size)
            count = int(np.count_nonzero(inside))
            if count:
                missing -= count
                found.append((memory, slice(None) if count == addresses.size else inside))
        if missing:
            raise PtxError(f"{where}: an address outside the memory given")
        return found

    def _shared_address(self, addresses: Any, threads: Any, where: str) -> Any:
        """Return addresses in the shared memory of all blocks, one after the other."""
        size = np.uint64(self.kernel.shared_bytes)
        if (addresses >= size).any():
            raise PtxError(f"{where}: outside the block's shared memory")
        return addresses + self.blocks[threads].astype(np.uint64) * size

    def _move(
        self,
        verb: str,
        memory: Memory,
        kind: np.dtype,
        units: Any,
        width: int,
        threads: Any,
        register: Any,
        where: str,
    ) -> None:
        """Load or store one element for each thread: `width` units of the memory."""
        for unit in range(width):
            access = "write" if verb == "st" else "read"
            memory.meetings.note(access, units + unit, threads, self.barriers[threads], where)
        if verb == "ld" and memory.blank and (memory.meetings.writes[units] == 0).any():
            raise PtxError(f"{where}: reads what was never written")
        where_bytes = units[:, None] * memory.width + np.arange(kind.itemsize)
        if verb == "st":
            bits = register.view(BITS[str(8 * register.dtype.itemsize)])[threads]
            narrow = np.ascontiguousarray(bits.astype(BITS[str(8 * kind.itemsize)]))
            memory.bytes[where_bytes] = narrow.view(np.uint8).reshape(-1, kind.itemsize)
        else:
            loaded = np.ascontiguousarray(memory.bytes[where_bytes]).view(kind).reshape(-1)
            register[threads] = _loaded(loaded, register)
