#!/usr/bin/env bash
# From a machine with Python alone to the tables, figures and pages of studies, and a check of what came out.
#   ./reproduce.sh [STUDY ...]      the two embedded studies, unless others are named
#   GPUS=4 ./reproduce.sh paper     one that trains on this machine's GPUs
# Uses the environment at hand where it has all libraries (as in the container), else makes .venv from the lock file.
set -euo pipefail
cd "$(dirname "$0")"
case "${1:-}" in -h | --help) sed -n '2,5s/^# //p' reproduce.sh; exit ;; esac
[ $# -gt 0 ] || set -- simclr-demo demo
if ! python3 -c "import snakemake, torch, open_clip" 2>/dev/null; then
  make .venv/installed
  export PATH="$PWD/.venv/bin:$PATH"
fi
export PYTHONPATH="$PWD/workflow"
for study in "$@"; do
  snakemake --cores all ${GPUS:+--resources "gpu=$GPUS"} --config study="$study"
  snakemake --cores 1 verify --config study="$study"
  python3 -m contrastive_inversion summary --study "$study"
done
