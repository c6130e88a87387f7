#!/usr/bin/env bash
# The whole of geopix-nano, in order: its stages, the evaluation, the learning curve. Stopped? Run it again.
#   runs/nano.sh DATA RUNS
#   runs/nano.sh DATA RUNS two-stages
#   runs/nano.sh DATA RUNS single-stage
# DATA holds nwpu_vhr10 (annotations.json, split.json, images), sen2ships, ucm, gdit_airport and aid_rsicd;
# docs/model_card_nano.md says where they come from. RUNS takes features, checkpoints, metrics and the report: some 11 GB.
# The second trains the paper's two stages after those of the mask side, the third a single one in their place (Table XI);
# the model goes to RUNS/nano, so that the embedded one stays as it is.
# Once before: make setup
set -euo pipefail
case "$#${3:-}" in
  2 | 3two-stages | 3single-stage) ;;
  *) set -- ;;
esac
if [ $# -eq 0 ] || [ ! -d "$1" ]; then
  echo "usage: runs/nano.sh DATA RUNS [two-stages|single-stage]" >&2
  echo "DATA is the folder that holds nwpu_vhr10, sen2ships, ucm, ..." >&2
  exit 2
fi
kind="${3:-embedded}"
data=$(realpath "$1")
mkdir -p "$2"
runs=$(realpath "$2")
cd "$(dirname "$0")/.."
bin="${VENV:-.venv}/bin"
[ -x "$bin/geopix" ] || { echo "$bin/geopix is missing; run: make setup" >&2; exit 1; }

stages=(nano_relations nano_point nano_search nano_mask nano_words)
if [ "$kind" = two-stages ]; then
  stages+=(nano_texts nano_stage1) last=nano_stage2 export="$runs/nano" model="$runs/nano"
elif [ "$kind" = single-stage ]; then
  stages+=(nano_texts) last=nano_single export="$runs/nano" model="$runs/nano"
else
  stages+=(nano_joint nano_finish nano_talk nano_last nano_scenes nano_relate nano_read nano_speak)
  stages+=(nano_aim nano_draw nano_hone) last=nano_trust export=geopix/weights/nano model=nano
fi
for stage in "${stages[@]}"; do
  "$bin/geopix" train "configs/$stage.yaml" --data "$data" --runs "$runs"
done
"$bin/geopix" train "configs/$last.yaml" --data "$data" --runs "$runs" --export "$export"
"$bin/geopix" evaluate --data "$data" --model "$model" -o "$runs/report.json" --overwrite

if [ "$model" != nano ]; then
  echo
  echo "Model: $model, numbers: $runs/report.json"
  exit
fi
"$bin/python" runs/learning_curve.py "${stages[@]/#/$runs/}" "$runs/$last" -o docs/nano_learning_curve.png

echo
echo "Numbers: $runs/report.json (they go into docs/model_card_nano.md)"
echo "Curve:   docs/nano_learning_curve.png"
