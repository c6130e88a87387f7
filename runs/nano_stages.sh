#!/usr/bin/env bash
# Nano in the paper's two stages, in order: the mask side's own stages, stage 1, stage 2. Stopped? Run it again.
#   runs/nano_stages.sh DATA RUNS
# DATA holds nwpu_vhr10, sen2ships, ucm, gdit_airport and aid_rsicd; RUNS takes features, checkpoints and the model.
# Once before: make setup
set -euo pipefail
if [ $# -ne 2 ] || [ ! -d "$1" ]; then
  echo "usage: runs/nano_stages.sh DATA RUNS, where DATA is the folder that holds nwpu_vhr10, sen2ships and ucm" >&2
  exit 2
fi
data=$(realpath "$1")
mkdir -p "$2"
runs=$(realpath "$2")
cd "$(dirname "$0")/.."
bin="${VENV:-.venv}/bin"
[ -x "$bin/geopix" ] || { echo "$bin/geopix is missing; run: make setup" >&2; exit 1; }

for stage in nano_relations nano_point nano_search nano_mask nano_words nano_stage1; do
  "$bin/geopix" train "configs/$stage.yaml" --data "$data" --runs "$runs"
done
"$bin/geopix" train configs/nano_stage2.yaml --data "$data" --runs "$runs" --export "$runs/nano"
"$bin/geopix" evaluate --data "$data" --model "$runs/nano" -o "$runs/report.json" --overwrite

echo
echo "Model: $runs/nano, numbers: $runs/report.json"
