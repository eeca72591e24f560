#!/usr/bin/env bash
#SBATCH --array=1-4
# Each job of the array writes its part; the last one to be complete gives the file its name.
# After a fault submit the same array again: --resume goes on from what is saved.
set -euo pipefail
seedbed table --shape 4096x64 --initializer truncated_normal --set stddev=0.02 --seed 7 \
    --out "$1" --part "$SLURM_ARRAY_TASK_ID/$SLURM_ARRAY_TASK_COUNT" --resume
if [[ -e $1 ]]; then
    python -c '
import hashlib, sys
from seedbed import tables
print("SHA-256", hashlib.sha256(tables.open(sys.argv[1])["weight"][...]).hexdigest())' "$1"
fi
