"""The benchmarks that nobody runs often still run: on few values, or up to what is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
from benchmarks import contenders, gpu_static, rows, scale

from tests import processes

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gathered_and_keyed_rows_are_timed(dtype):
    functions = rows.contenders("normal", np.dtype(dtype), 300, 16)
    taken = rows.compare(functions)
    assert list(taken) == ["contiguous", "gathered", "keyed"]
    assert min(taken.values()) > 0
    assert rows.one_row(np.dtype(dtype)) > 0


@pytest.mark.parametrize("library", contenders.MKL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_mkl_is_timed_with_are_the_distributions_named(library, dtype):
    """Means and deviations of 10**5 values within 6 standard errors: p < 1e-8 by chance."""
    if contenders.contender(library, "uniform", dtype, 10) is None:
        pytest.skip("needs mkl")
    for distribution, stddev in (("uniform", 0.1 / 12**0.5), ("normal", 0.05)):
        call = contenders.contender(library, distribution, dtype, 10**5)
        assert call is not None
        values = call()
        again = call()
        assert abs(values.mean()) < 6 * stddev / 10**2.5
        assert abs(values.std() / stddev - 1) < 6 * 10**-2.5
        assert again is values  # filled in place
    assert contenders.contender(library, "truncated normal", dtype, 10) is None
    assert contenders.contender(library, "uniform", "float16", 10) is None


@pytest.mark.matplotlib
def test_the_report_times_other_environments_in_processes_of_their_own():
    from benchmarks import report

    found = report.rates_in_a_process(1000, NUMBA_NUM_THREADS="1", PYTHONPATH=str(ROOT))
    assert list(found) == list(contenders.DISTRIBUTIONS)
    assert min(found.values()) > 0


def test_the_scale_model_finds_parts_without_gap_and_of_equal_bits(tmp_path):
    for what in scale.OUTPUTS.values():
        _, whole, equal = scale.planned(what, 3)
        assert whole
        assert equal
    digests = {scale.written(tmp_path, of)[2] for of in (1, 5)}
    assert len(digests) == 1


@pytest.mark.parametrize("name", ["gpu", "gpu_launches"])
def test_the_gpu_benchmarks_say_what_is_missing(name):
    environment = {"CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, ROOT / "benchmarks" / f"{name}.py"]
    ended = processes.run(command, environment, check=False)
    assert ended.returncode == 2
    assert ended.stderr.startswith("device 'cuda' needs ")
    assert not ended.stdout


def test_the_loop_of_a_kernel_is_found_in_its_machine_code():
    """That is the loop that stores twice for certain; of the other one store is conditional."""
    text = """
.L_x_0:
        /*0000*/                   LOP3.LUT R1, R2, R3, RZ, 0x96, !PT ;
        /*0010*/              @P0 BRA `(.L_x_2) ;
.L_x_1:
        /*0020*/                   DFMA R4, R4, UR4, R6.reuse ;
        /*0030*/                   STG.E.64 desc[UR36][R2.64], R4 ;
        /*0040*/                   STG.E.64.SYS [R2+0x100], R6 ;
        /*0050*/                   BRA.DIV UR4, `(.L_x_3) ;
        /*0060*/              @!P1 BRA `(.L_x_1) ;
.L_x_2:
        /*0070*/               @P2 STG.E.64 desc[UR36][R2.64], R4 ;
        /*0080*/                   DFMA R4, R4, UR4, R6 ;
        /*0090*/                   DFMA R4, R4, UR4, R6 ;
        /*00a0*/                   STG.E.64 desc[UR36][R2.64], R4 ;
        /*00b0*/                   BRA P1, `(.L_x_2) ;
        /*00c0*/                   BRA `(.L_x_0) ;
.L_x_3:
        /*00d0*/                   EXIT ;
"""
    lines, lanes = gpu_static.loop(text, nbytes=8)
    assert [line.name for line in lines] == [
        "DFMA", "STG.E.64", "STG.E.64.SYS", "BRA.DIV", "BRA",
    ]  # fmt: skip
    assert lanes == 1
