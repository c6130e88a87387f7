#!/usr/bin/env bash
# The main job on two real images: a question, an answer, masks over the picture and on the map (make demo).
set -euo pipefail
cd "$(dirname "$0")/.."
geopix="${VENV:-.venv}/bin/geopix"
mkdir -p out

"$geopix" ask examples/airport.jpg "Segment the airplane on the left." -o out/airport.png --overwrite
echo
"$geopix" ask examples/sentinel2_port.tif "Segment the ships." -o out/port.png -o out/port.gpkg --overwrite

echo
echo "Look at:"
echo "  out/airport.png   the airplane, drawn over the airport"
echo "  out/port.png      the ships, drawn over a Sentinel-2 scene of a port that nano was not trained on"
echo "  out/port.gpkg     the same as polygons on the map: open it in QGIS"
