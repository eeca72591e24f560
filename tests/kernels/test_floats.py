"""Rounding on processors that the tests do not run on: what LLVM makes for them."""

import pytest

from tests import processes

# In a process of its own: Numba keeps what it has compiled.
PROGRAM = """
import sys
import numba
from llvmlite import binding
from numba.core.registry import cpu_target
from seedbed_kernels import compiling, floats

triple, cpu = "aarch64-unknown-linux-gnu", sys.argv[1]
cpu_target.target_context.codegen().magic_tuple = lambda: (triple, cpu, "")
with compiling.by_default():
    made = numba.cfunc("int16(float32)")(lambda value: floats.float16_bits(value))
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
machine = binding.Target.from_triple(triple).create_target_machine(cpu=cpu, opt=3)
code = [line for line in made.inspect_llvm().splitlines() if not line.startswith("target ")]
module = binding.parse_assembly("\\n".join([f'target triple = "{triple}"', *code]))
print(machine.emit_assembly(module))
"""


@pytest.mark.parametrize("cpu", ["generic", "neoverse-v1"])
def test_arm_rounds_to_float16_by_one_instruction(cpu):
    code = processes.output(PROGRAM, cpu)
    assert "\tfcvt\th" in code
    assert "truncsf" not in code  # a function of the C library
