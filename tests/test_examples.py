"""The scripts in examples/, each run as several processes: all print the hash of one table."""

import contextlib
import hashlib
import os
import re
import socket
import sys
from pathlib import Path

import pytest

from seedbed import initializers
from tests import processes

EXAMPLES = Path(__file__).parents[1] / "examples"
TABLE = initializers.TruncatedNormal(stddev=0.02, seed=7)((4096, 64))
LINE = "SHA-256 " + hashlib.sha256(TABLE).hexdigest()


def outputs(commands, environments=None):
    """Run commands side by side, which must succeed; return the lines that have a hash."""
    with contextlib.ExitStack() as stack:
        begun = [
            stack.enter_context(processes.started(command, environment))
            for command, environment in zip(
                commands, environments or [{}] * len(commands), strict=True
            )
        ]
        ended = [process.communicate(timeout=120) for process in begun]
        for process, (_, errors) in zip(begun, ended, strict=True):
            assert process.returncode == 0, errors[-3000:]
    return [line for out, _ in ended for line in re.findall(r"^SHA-256 .*", out, re.M)]


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def test_jobs_of_an_array_write_parts(tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, options in (("seedbed", "-m seedbed"), ("python", "")):
        program = programs / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
        program.chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    environments = [
        {"PATH": path, "SLURM_ARRAY_TASK_ID": str(number), "SLURM_ARRAY_TASK_COUNT": "3"}
        for number in (1, 2, 3)
    ]
    command = ["bash", EXAMPLES / "array_job.sh", tmp_path / "table.npy"]
    found = outputs([command] * 3, environments)
    assert found
    assert set(found) == {LINE}


def test_workers_of_dask_write_one_table(tmp_path):
    pytest.importorskip("distributed")
    command = [sys.executable, EXAMPLES / "dask_cluster.py", tmp_path / "table.zarr"]
    assert outputs([command]) == [LINE]


def test_ranks_of_torch_hold_shards():
    command = ["-m", "torch.distributed.run", "--nproc-per-node=2", "--master-addr=127.0.0.1"]
    command = [*command, f"--master-port={free_port()}", EXAMPLES / "torchrun_fsdp2.py"]
    assert outputs([[sys.executable, *command]], [{"OMP_NUM_THREADS": "1"}]) == [LINE]


def test_processes_of_jax_hold_shards():
    port = free_port()
    script = EXAMPLES / "jax_processes.py"
    commands = [
        [sys.executable, script, f"127.0.0.1:{port}", "2", str(number)] for number in (0, 1)
    ]
    environment = {"JAX_PLATFORMS": "cpu"}
    assert outputs(commands, [environment] * 2) == [LINE] * 2
