"""Groups of gloo processes, forked from one that has imported what they need."""

import sys
import tempfile

import torch.distributed as dist

from tests import processes


def _member(work, rank: int, world: int, rendezvous: str) -> None:
    dist.init_process_group("gloo", init_method=f"file://{rendezvous}", rank=rank, world_size=world)
    work(rank, world)
    dist.barrier()  # gloo aborts a process whose peer has gone
    dist.destroy_process_group()


def run(work, worlds) -> None:
    """Call ``work(rank, world)`` in groups of processes, one group after another."""
    for world in worlds:
        with tempfile.TemporaryDirectory() as folder:
            group = [
                processes.FORK.Process(
                    target=_member, args=(work, rank, world, f"{folder}/rendezvous")
                )
                for rank in range(world)
            ]
            for member in group:
                member.start()
            for member in group:  # the others of one that fails wait for it in vain
                while member.is_alive() and not any(one.exitcode for one in group):
                    member.join(0.2)
            failed = [one for one in group if one.exitcode]
            for member in group:
                if failed:
                    member.kill()
                member.join()
            if failed:
                sys.exit(f"failed with {world} processes")
