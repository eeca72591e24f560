"""What is broken: a file, what stands there once, what stands there instead, and who sees it."""

from typing import NamedTuple

KERNELS, SEEDBED = "kernels/seedbed_kernels", "src/seedbed"
ORACLE = "tests/kernels/test_contract.py::test_equal_to_the_oracle"
CONTRACT = "tests/kernels/test_contract.py"
BAD_INPUT = "tests/values/test_fill.py::test_bad_input"


class Fault(NamedTuple):
    """A text that stands once in a file, its replacement, and a test that must fail then."""

    what: str
    file: str
    old: str
    new: str
    test: str


def _scalars(file: str, *faults: tuple[str, str, str, str]) -> list[Fault]:
    return [Fault(what, f"{KERNELS}/{file}.py", old, new, test) for what, old, new, test in faults]


def _guards(file: str, *faults: tuple[str, str, str, str]) -> list[Fault]:
    return [Fault(what, f"{SEEDBED}/{file}.py", old, new, test) for what, old, new, test in faults]


FAULTS = [
    *_scalars(
        "philox",
        ("a multiplier", "0xD2511F53", "0xD2511F51", f"{CONTRACT}::test_published_philox_answers"),
        ("a Weyl constant", "0xBB67AE85", "0xBB67AE87", f"{CONTRACT}::test_published_philox_answers"),
        ("nine rounds", "ROUNDS = 10", "ROUNDS = 9", f"{CONTRACT}::test_published_philox_answers"),
        ("the upper half of lanes", "philox4x32(lane, lane >> U32,", "philox4x32(lane, lane >> U32 >> U32,",
         f"{CONTRACT}::test_windows_far_inside_virtual_tables[58-uniform-float32]"),
    ),
    *_scalars(
        "floats",
        ("uniform of 23 bits", "F32(np.int32((word & LOW_32) >> np.uint64(8))) * TWO_M24",
         "F32(np.int32((word & LOW_32) >> np.uint64(9) << np.uint64(1))) * TWO_M24", f"{ORACLE}[uniform-float32]"),
        ("zero in (0, 1]", "return fma(F32(np.uint32(word)), TWO_M32, TWO_M33)",
         "return F32(np.uint32(word)) * TWO_M32", f"{CONTRACT}::test_end_points_of_unit_floats"),
        ("a half turn too long", "return F32(np.int32(word << np.uint64(1))) * TWO_M32",
         "return F32(np.int32(word)) * TWO_M32", f"{ORACLE}[normal-float32]"),
        ("low bits of a float64", "tail = word_float64((low & LOW_32) >> np.uint64(11)) * TWO_M53_F64",
         "tail = word_float64((low & LOW_32) >> np.uint64(12)) * TWO_M53_F64", f"{ORACLE}[uniform-float64]"),
        ("angle of a float64", "head = fma(word_float64(high & LOW_31), TWO_M31_F64, -HALF_F64)",
         "head = fma(word_float64(high & LOW_32), TWO_M31_F64, -HALF_F64)", f"{ORACLE}[normal-float64]"),
        ("no lower clamp", "return at_most(at_least(fma(base, scale, shift), low), high)",
         "return at_most(fma(base, scale, shift), high)", f"{ORACLE}[uniform-bfloat16]"),
        ("no upper clamp", "return at_most(at_least(fma(base, scale, shift), low), high)",
         "return at_least(fma(base, scale, shift), low)", f"{ORACLE}[uniform-bfloat16]"),
        ("scaled in two roundings", "return at_most(at_least(fma(base, scale, shift), low), high)",
         "return at_most(at_least(base * scale + shift, low), high)", f"{ORACLE}[normal-float32]"),
        ("bfloat16 ties up", "np.int32(bits + np.int32(0x7FFF) + odd)", "np.int32(bits + np.int32(0x8000))",
         f"{CONTRACT}::test_sixteen_bit_rounding_at_every_midpoint"),
    ),
    *_scalars(
        "gaussian",
        ("a coefficient of the logarithm", "F32(0.33124825)", "F32(0.33124827)", f"{CONTRACT}::test_golden_hash[normal-float32]"),
        ("a coefficient of the sine", "F64(2.550164039877294)", "F64(2.5501640398772945)", f"{ORACLE}[normal-float64]"),
        ("the root of one half", "np.int32(0x3F3504F3)", "np.int32(0x3F3504F3 - 2**20)", f"{ORACLE}[normal-float32]"),
        ("the mirror bit", "sign = np.int32(angle_word) & SIGN_F32", "sign = np.int32(0)", f"{ORACLE}[normal-float32]"),
        ("the mirror bit of float64", "sign = np.int64(angle_high << np.uint64(32)) & SIGN_F64",
         "sign = np.int64(0)", f"{ORACLE}[normal-float64]"),
    ),
    *_scalars(
        "draws",
        ("rejected below only", "(value < sampler.lower) | (value > sampler.upper)", "value < sampler.lower",
         f"{ORACLE}[truncated-float32]"),
        ("slot of a redraw", "return odd if slot & 1 else even", "return even if slot & 1 else odd",
         f"{ORACLE}[truncated-float32]"),
        ("density of the narrow", "minus_two_log(open_closed(*v)) >= excess", "minus_two_log(open_closed(*v)) >= distance",
         f"{ORACLE}[narrow-float32]"),
        ("what the tail keeps", "(distance + near) * open_closed(*v) <= near else", "distance * open_closed(*v) <= near else",
         f"{ORACLE}[tail-float64]"),
    ),
    *_scalars(
        "redraws_cpu",
        ("attempts left out", "            attempt += np.uint64(1)\n", "            attempt += np.uint64(2)\n",
         f"{ORACLE}[tail-float32]"),
    ),
    *_scalars(
        "layout",
        ("wide tiles", "return WORDS // 2 if real is np.float64 else WORDS", "return WORDS", f"{ORACLE}[uniform-float64]"),
        ("keyed streams begin", "FIRST_KEYED_STREAM = 2**31 ", "FIRST_KEYED_STREAM = 2**30 ",
         "tests/values/test_keyed.py::test_values_are_those_of_the_contract"),
    ),
    *_guards(
        "values/request",
        ("negative sizes", "if sizes and (min(sizes) < 0 or any(", "if sizes and (any(", BAD_INPUT),
        ("bytes of a table", "if made * itemsize >= MAX_BYTES:", "if made >= MAX_BYTES:", BAD_INPUT),
        ("shape of out", "if out.shape != size:", "if out.size != math.prod(size):", BAD_INPUT),
        ("dtype of out", "if out.dtype != dtype:", "if out.itemsize != dtype.itemsize:", BAD_INPUT),
        ("contiguous out", "if not (out.flags.c_contiguous or (outer and _rows_lie_apart(out, outer))):", "if False:", BAD_INPUT),
        ("writable out", "if not out.flags.writeable:", "if False:", BAD_INPUT),
        ("rows that overlap", "return abs(distance) >= step and distance % out.itemsize == 0",
         "return distance % out.itemsize == 0", "tests/values/test_rows.py::test_what_is_refused"),
    ),
    *_guards(
        "values/window",
        ("steps of a window", "if step != 1:", "if step < 1:", BAD_INPUT),
        ("bounds of a window", "if not 0 <= start <= stop <= size:", "if not 0 <= start <= stop:", BAD_INPUT),
        ("strides of a window", "        stride *= size\n", "        stride *= length\n", f"{CONTRACT}::test_windows_far_inside_virtual_tables[31-uniform-float32]"),
    ),
    *_guards(
        "values/selection",
        ("rows outside", "int(flat.max()) < count):", "int(flat.max()) <= count):", "tests/values/test_rows.py::test_what_is_refused"),
    ),
    *_guards(
        "values/seeds",
        ("a bool as a seed", "if isinstance(seed, (bool, np.bool_)):", "if isinstance(seed, np.bool_):",
         "tests/initializers/test_configuration.py::test_bad_input"),
        ("seeds of 65 bits", "if not 0 <= number < SEEDS:", "if not 0 <= number <= SEEDS:",
         "tests/initializers/test_configuration.py::test_bad_input"),
        ("draws of a generator", "if self._draws == DRAWS:", "if self._draws > DRAWS:",
         "tests/initializers/test_configuration.py::test_a_generator_has_so_many_draws"),
    ),
    *_guards(
        "values/recipes",
        ("mirrored tails", "if upper <= 0.0:  # as its mirror image", "if upper < -9e9:", f"{ORACLE}[tail-float32]"),
        ("the end of a uniform", "low, high = smallest_not_below(first, dtype), largest_below(second, dtype)",
         "low, high = smallest_not_below(first, dtype), second", f"{ORACLE}[uniform-bfloat16]"),
    ),
    *_guards(
        "tables/state",
        ("checksum of a state", "if checksum != _checksum(body):", "if False:",
         "tests/tables/test_resume.py::test_a_bit_flipped_in_the_state"),
    ),
]  # fmt: skip
