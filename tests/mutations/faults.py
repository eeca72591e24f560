"""What is broken: a file, what stands there once, what stands there instead, and who sees it."""

from typing import NamedTuple

KERNELS, SEEDBED = "kernels/seedbed_kernels", "src/seedbed"
ORACLE = "tests/kernels/test_contract.py::test_equal_to_the_oracle"
CONTRACT = "tests/kernels/test_contract.py"
KEYED, ROWS = "tests/values/test_keyed.py", "tests/values/test_rows.py"
ORTHOGONAL = "tests/initializers/test_orthogonal.py"
PTX, DRIVER = "tests/cuda/test_ptx_runs.py", "tests/cuda/test_driver.py"
GROW = "tests/tables/test_verify_and_grow.py"
CONSTRUCTORS = "tests/torch/test_constructors.py"
SCHEMES, SCOPE = "tests/torch/test_schemes.py", "tests/keras/test_scope.py"
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
        ("uniform of 23 bits", "return F32(upper_24_bits(word)) * TWO_M24",
         "return F32(np.int32(upper_24_bits(word) & -2)) * TWO_M24", f"{ORACLE}[uniform-float32]"),
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
         "return at_most(at_least(base * scale + shift, low), high)", f"{ORACLE}[truncated-float32]"),
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
        ("a normal scaled in two roundings", "rounded(fma(real(value), sampler.scale, sampler.shift))",
         "rounded(real(value) * sampler.scale + sampler.shift)", f"{ORACLE}[normal-float32]"),
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
        ("CUDA: copies in a captured fill", "if (on_host or ids) and target", "if on_host and target",
         f"{DRIVER}::test_the_driver_is_called[captured-1-3]"),
        ("shape of out", "if out.shape != size:", "if out.size != math.prod(size):", BAD_INPUT),
        ("dtype of out", "if out.dtype != dtype:", "if out.itemsize != dtype.itemsize:", BAD_INPUT),
        ("contiguous out", "if not out.flags.c_contiguous and (\n", "if False and (\n", BAD_INPUT),
        ("writable out", "if not out.flags.writeable:", "if False:", BAD_INPUT),
    ),
    *_guards(
        "values/window",
        ("steps of a window", "if step != 1:", "if step < 1:", BAD_INPUT),
        ("bounds of a window", "if not 0 <= start <= stop <= size:", "if not 0 <= start <= stop:", BAD_INPUT),
        ("strides of a window", "        stride *= size\n", "        stride *= length\n", f"{CONTRACT}::test_windows_far_inside_virtual_tables[31-uniform-float32]"),
    ),
    *_guards(
        "values/selection",
        ("rows outside", "least >= 0 and most < count", "least >= 0 and most <= count", "tests/values/test_rows.py::test_what_is_refused"),
        ("rows that overlap", "if abs(distance) >= step and distance % unit == 0",
         "if distance % unit == 0", "tests/values/test_rows.py::test_what_is_refused"),
    ),
    *_guards(
        "values/seeds",
        ("a bool as a seed", "if isinstance(value, (bool, np.bool_)):", "if isinstance(value, np.bool_):",
         "tests/initializers/test_configuration.py::test_bad_input"),
        ("seeds of 65 bits", "if not 0 <= number < end:", "if not 0 <= number <= end:",
         "tests/initializers/test_configuration.py::test_bad_input"),
        ("draws of a generator", "if self._draws == DRAWS:", "if self._draws > DRAWS:",
         "tests/initializers/test_configuration.py::test_a_generator_has_so_many_draws"),
    ),
    *_guards(
        "values/recipes",
        ("normals that need bounds", "REACH = 10.0", "REACH = 9.0", "tests/values/test_recipes.py::test_a_normal_without_bounds_stays_in_its_dtype"),
        ("mirrored tails", "if upper <= 0.0:  # as its mirror image", "if upper < -9e9:", f"{ORACLE}[tail-float32]"),
        ("the end of a uniform", "low, high = smallest_not_below(first, dtype), largest_below(second, dtype)",
         "low, high = smallest_not_below(first, dtype), second", f"{ORACLE}[uniform-bfloat16]"),
    ),
    *_guards(
        "tables/state",
        ("checksum of a state", "if checksum != _checksum(body):", "if False:",
         "tests/tables/test_resume.py::test_a_bit_flipped_in_the_state"),
    ),
    *_scalars(
        "keyed_cpu",
        ("the upper half of keys", "store_ramp(lanes[1], start, np.uint32(own_key >> THIRTY_TWO), 0, VECTOR)",
         "store_ramp(lanes[1], start, np.uint32(own_key), 0, VECTOR)", f"{KEYED}::test_values_are_those_of_the_contract"),
        ("columns that begin within a lane", "skip = first % group", "skip = 0", f"{KEYED}::test_a_row_depends_on_its_key_alone"),
        ("streams of keyed redraws", "return index % np.uint64(group), number, own_key[2]",
         "return index % np.uint64(group), number, key[2]", f"{KEYED}::test_a_row_depends_on_its_key_alone"),
        ("keyed rows that lie apart", "dense = rows == 1 or place.stride == width", "dense = True",
         f"{KEYED}::test_out_may_be_rows_of_a_wider_array"),
    ),
    *_scalars(
        "tiles_cpu",
        ("rows that lie apart", "at = row * place.stride + run * place.run + column",
         "at = row * place.run + run * place.run + column", f"{ROWS}::test_out_may_be_rows_of_a_wider_array"),
    ),
    *_scalars(
        "haar_cpu",
        ("signs of columns", "signs[k] = math.copysign(1.0, diagonal)", "signs[k] = 1.0",
         f"{ORTHOGONAL}::test_golden_hashes[float32]"),
        ("norms of reflectors", "half[k] = 0.5 * ((total - first * first) + head * head)",
         "half[k] = 0.5 * (total + head * head)", f"{ORTHOGONAL}::test_rows_or_columns_are_orthonormal"),
    ),
    *_scalars(
        "redraws_cuda",
        ("CUDA: redraws of one value only", "wanted = np.uint32(wanted & np.uint32(wanted - np.uint32(1)))",
         "wanted = np.uint32(0)", f"{PTX}::test_many_rejections"),
        ("CUDA: a barrier", "        cuda.syncwarp()  # all have read their slots\n", "", f"{PTX}::test_many_rejections"),
    ),
    *_scalars(
        "tiles_cuda",
        ("CUDA: rows of a window", "run = np.uint32(first_run + number)", "run = np.uint32(number)",
         f"{PTX}::test_parts_of_a_window"),
    ),
    *_scalars(
        "stores_cuda",
        ("CUDA: halves of a constant", "out[index] = odd if index & np.uint64(1) else even", "out[index] = even",
         f"{PTX}::test_constants"),
    ),
    *_scalars(
        "launch_cuda",
        ("CUDA: the size of an array", "(0, 0, size, itemsize, pointer, size, itemsize)",
         "(0, 0, itemsize, itemsize, pointer, size, itemsize)", f"{DRIVER}::test_values_are_the_cpus_and_a_second_process_needs_no_numba"),
        ("CUDA: kernels load beside captures", "with driver_cuda.beside_captures():", "if True:",
         f"{DRIVER}::test_the_driver_is_called[captured-1-3]"),
    ),
    *_scalars(
        "driver_cuda",
        ("CUDA: views keep memory", "return Memory(self.pointer, size, dtype, self.owner)",
         "return Memory(self.pointer, size, dtype, None)", f"{DRIVER}::test_the_driver_is_called[memory-0-3]"),
        ("CUDA: ids that change after a call", "source = values.copy()", "source = values",
         f"{DRIVER}::test_the_driver_is_called[late-2-2]"),
        ("CUDA: ids that are gone after a call", "source.size, source.dtype, source)", "source.size, source.dtype)",
         f"{DRIVER}::test_the_driver_is_called[late-2-2]"),
    ),
    *_scalars(
        "cubins_cuda",
        ("CUDA: code of another GPU", '        "cubin",\n        capability,\n', '        "cubin",\n',
         "tests/cuda/test_cubins.py::test_a_second_process_compiles_nothing"),
    ),
    *_guards(
        "gpu/staging",
        ("CUDA: pinned memory of a copy", "        weakref.finalize(self, _settle, self._bytes).atexit = False\n", "",
         f"{DRIVER}::test_the_driver_is_called[staged-0-1]"),
    ),
    *_scalars(
        "compiling",
        ("arrays that Numba's errors hold", "            gc.collect(0)\n", "",
         "tests/kernels/test_settings.py::test_what_the_caller_of_a_compilation_made_is_not_held_after_it"),
    ),
    *_guards(
        "values/selection",
        ("negative rows", "(least >= 0 and most < count)", "(most < count)", f"{ROWS}::test_what_is_refused"),
        ("windows of rows", "inner = runs(shape[1:], window[1:])", "inner = runs(shape[1:], tuple(slice(0, n) for n in shape[1:]))",
         f"{ROWS}::test_rows_are_those_of_the_whole_table"),
        ("keys of 65 bits", "all(-(2**63) <= number < 2**64", "all(-(2**64) <= number < 2**64", f"{KEYED}::test_what_is_refused"),
    ),
    *_guards(
        "values/seeds",
        ("masters of derived seeds", "checked.to_bytes(8", "(0).to_bytes(8", "src/seedbed/values/seeds.py"),
    ),
    *_guards(
        "initializers/variance_scaling",
        ("fan_out", "        fan = fan_out\n", "        fan = fan_in\n", "tests/initializers/test_statistics.py"),
        ("stddev of what is cut off", "stddev / TRUNCATED_STDDEV", "stddev", "tests/initializers/test_statistics.py"),
    ),
    *_guards(
        "storage/atomic",
        ("new names that replace", "self.link(partial, final)  # unlike", "self.replace(partial, final)  # unlike",
         "tests/storage/test_atomic.py::test_publish_gives_a_new_name_only_once"),
        ("states that are not flushed", "                    write_all(fd, text.encode(), 0)\n                    os.fsync(fd)\n",
         "                    write_all(fd, text.encode(), 0)\n", "tests/tables/test_faults.py"),
    ),
    *_guards(
        "tables/pipeline",
        ("values that are not flushed", "                sync(fd)\n", "                pass\n", "tests/tables/test_faults.py"),
        ("what follows a failed chunk", "        if self._broken:  # what", "        if False:  # what", "tests/tables/test_resume.py::test_what_follows_a_chunk_that_failed_does_not_count"),
    ),
    *_guards(
        "tables/finishing",
        ("parts that are not complete", "saved is None or not saved.complete or saved", "saved is None or saved",
         "tests/tables/test_parts.py::test_a_part_that_was_stopped_is_missing_too"),
        ("headers", "if header != file.header:", "if False:", "tests/tables/test_parts.py::test_finish_looks_at_the_data"),
        ("older rows that changed", "if table.kept.describe() != before:", "if False:",
         f"{GROW}::test_growing_from_a_file_that_changes_meanwhile"),
        ("ids that changed", "if table.placed.files() != before:", "if False:",
         "tests/tables/test_place_by_ids.py::test_files_that_change_meanwhile_are_told_of"),
    ),
    *_guards(
        "tables/growing",
        ("rows that are lost", " or made.shape[0] < tensor.shape[0]:", ":", f"{GROW}::test_growing_refuses"),
        ("rows of another dtype", "if made.dtype != tensor.dtype:", "if made.dtype.itemsize != tensor.dtype.itemsize:", f"{GROW}::test_growing_refuses"),
    ),
    *_guards(
        "tables/placing",
        ("ids in their order", "return turn[known], where[known]", "return np.sort(turn[known]), where[known]",
         "tests/tables/test_place_by_ids.py::test_known_ids_keep_their_rows"),
        ("ids that are not there", "known = self.old[where] == ids[turn]", "known = np.ones(len(ids), bool)",
         "tests/tables/test_place_by_ids.py::test_known_ids_keep_their_rows"),
        ("ids repeated far apart", "for part in _parts(len(ids), 1):", "for part in _parts(len(ids)):", "tests/tables/test_place_by_ids.py"),
    ),
    *_guards(
        "storage/locks",
        ("locks of parts", "fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, stop - start, start)", "pass",
         "tests/tables/test_parts.py::test_locks_of_overlapping_parts"),
    ),
    *_guards(
        "torch/standins",
        ("numbers of draws", 'return f"{self.name}#{number}" if number else f"{self.name}"', 'return f"{self.name}"', SCHEMES),
        ("numbers since the last overwriting", "self.steps, self.value, self.draws = [], None, 0", "self.steps, self.value = [], None",
         f"{SCHEMES}::test_draws_on_a_parameter_are_numbered_since_it_was_last_overwritten"),
    ),
    *_guards(
        "torch/session",
        ("rows of a padding index", "if root.touched:\n                        zero", "if False:\n                        zero",
         f"{SCHEMES}::test_rows_of_a_padding_index_are_zero"),
        ("what the model leaves out", "if one.buffer or root.complete:", "if one.buffer or root.touched:", SCHEMES),
    ),
    *_guards(
        "torch/names",
        ("ties that to_empty tears off", "    if whole:\n", "    if False:\n",
         f"{SCHEMES}::test_a_tie_that_to_empty_broke_is_tied_again"),
        ("ties of transformers 4", "ties = _ties_of_release_4(module)", "ties = {}",
         f"{CONSTRUCTORS}::test_a_model_of_transformers_4_keeps_its_ties_and_its_backbone"),
    ),
    *_guards(
        "torch/schemes",
        ("backbones that only constructors know", "if id(module) in of_timm:", "if False:",
         f"{CONSTRUCTORS}::test_a_model_of_transformers_4_keeps_its_ties_and_its_backbone"),
    ),
    *_guards(
        "torch/constructors",
        ("new tensors of ones", '{"zeros": 0, "ones": 1}', '{"zeros": 0, "ones": 0}',
         f"{CONSTRUCTORS}::test_a_model_is_initialized_as_its_constructors_do"),
        ("counterparts of another shape", "tuple(made.shape) != root.shape", "made.ndim != len(root.shape)",
         f"{CONSTRUCTORS}::test_a_model_that_is_another_one_is_refused"),
    ),
    *_guards(
        "torch/doubts",
        ("other constants", "now_std != then_std or now_mean != then_mean", "now_std != then_std",
         f"{CONSTRUCTORS}::test_a_model_of_another_distribution_is_told_of_once"),
        ("another spread", "not 0.8 < float(now_std / then_std) < 1.25", "False",
         f"{CONSTRUCTORS}::test_a_model_of_another_distribution_is_told_of_once"),
    ),
    *_guards(
        "torch/modules",
        ("whole names", "return re.compile(fnmatch.translate(pattern)).match", "return re.compile(fnmatch.translate(pattern)[:-2]).match",
         "tests/torch/test_rules.py::test_a_pattern_matches_the_whole_name"),
        ("rules with seeds", "if isinstance(found, RandomInitializer) and found.seeded:", "if False:",
         "tests/torch/test_rules.py::test_bad_rules_are_refused_before_any_work"),
    ),
    *_guards(
        "torch/fans",
        ("PyTorch's fans", "return inputs * math.prod(receptive), outputs * math.prod(receptive)",
         "return outputs * math.prod(receptive), inputs * math.prod(receptive)", "tests/torch/test_init.py::test_distributions_are_those_of_torch"),
    ),
    *_guards(
        "torch/resizing",
        ("new rows of an embedding", "window = slice(old, count), slice(0, weight.shape[1])", "window = slice(0, count - old), slice(0, weight.shape[1])",
         "tests/torch/test_resizing.py::test_rows_stay_and_new_ones_follow"),
        ("padding beyond an embedding", "padding >= count:", "padding > count:", "tests/torch/test_resizing.py::test_what_is_refused"),
    ),
    *_guards(
        "keras/scopes",
        ("names of weights", "twin(init, derive(self.seed, name), self._keep_seeds, layer)", "twin(init, derive(self.seed, path), self._keep_seeds, layer)",
         f"{SCOPE}::test_names_decide_the_seeds"),
        ("variables of optimizers", "if entered is not None and (layer is None or isinstance(layer, keras.layers.Layer)):", "if entered is not None:",
         f"{SCOPE}::test_variables_of_optimizers_metrics_and_generators_are_left_alone"),
        ("scopes that end", "            if self._open == 0 and vars", "            if False and vars", SCOPE),
        ("weights of one name", "if other is not None and other is not weight:", "if False:", f"{SCOPE}::test_weights_of_one_name_are_told_of"),
    ),
    *_guards(
        "keras/twins",
        ("seeds of initializers", "and not (keep_seeds and init.seeded)", "", SCOPE),
    ),
    *_guards(
        "jax",
        ("halves of a key", "return init.with_seed(high << 32 | low)", "return init.with_seed(low)", "tests/frameworks/test_jax.py::test_a_key_is_a_seed_with_and_without_jit"),
    ),
    *_guards(
        "dask/arrays",
        ("windows of blocks", "return init(shape, dtype, window=window) if init.windowed else init(shape, dtype)",
         "return init(tuple(a.stop - a.start for a in window), dtype)", "tests/frameworks/test_dask.py::test_values_do_not_depend_on_chunks"),
    ),
]  # fmt: skip
