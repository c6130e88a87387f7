#!/usr/bin/env bash
# The whole of geopix-nano, in order: its stages, the evaluation, the learning curve. Stopped? Run it again.
#   runs/nano.sh DATA RUNS
# DATA holds nwpu_vhr10 (annotations.json, split.json, images), sen2ships and ucm; docs/model_card_nano.md says where
# they come from. RUNS takes features, checkpoints, metrics and the report: some 11 GB.
# Once before: make setup
set -euo pipefail
if [ $# -ne 2 ] || [ ! -d "$1" ]; then
  echo "usage: runs/nano.sh DATA RUNS, where DATA is the folder that holds nwpu_vhr10, sen2ships and ucm" >&2
  exit 2
fi
data=$(realpath "$1")
mkdir -p "$2"
runs=$(realpath "$2")
cd "$(dirname "$0")/.."
bin="${VENV:-.venv}/bin"
[ -x "$bin/geopix" ] || { echo "$bin/geopix is missing; run: make setup" >&2; exit 1; }

for stage in nano_relations nano_point nano_search nano_mask nano_words nano_joint; do
  "$bin/geopix" train "configs/$stage.yaml" --data "$data" --runs "$runs"
done
"$bin/geopix" train configs/nano_finish.yaml --data "$data" --runs "$runs" --export geopix/weights/nano

"$bin/geopix" evaluate --data "$data" -o "$runs/report.json" --overwrite
"$bin/python" runs/learning_curve.py "$runs"/nano_{relations,point,search,mask,words,joint,finish} -o docs/nano_learning_curve.png

echo
echo "Numbers: $runs/report.json (they go into docs/model_card_nano.md)"
echo "Curve:   docs/nano_learning_curve.png"
