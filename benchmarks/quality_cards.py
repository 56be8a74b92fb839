r"""Write what `quality.py` found into the cards of the embedded weights.

python benchmarks/quality.py --real FOLDER --count 0 --edge 256 --laws \
    --rival realesr-general-x4v3 --json figures.json
python benchmarks/quality_cards.py figures.json

Prints the size and checksum of each file, which then belong into `models/catalog.py`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from quality_tables import summary
from safetensors import safe_open

from napari_superres.training.export import write_weights

EMBEDDED = Path(str(resources.files("napari_superres.models") / "embedded"))
_RIVAL = "realesr-general-x4v3"


def main() -> None:
    """Write the cards of all models that the figures are about."""
    found = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    records = [one for one in found["figures"] if one["image"].startswith("real:")]
    rows = summary(records)
    for name in dict.fromkeys(row["model"] for row in rows):
        path = EMBEDDED / f"{name}.safetensors"
        figures = {"real_micrographs": [row for row in rows if row["model"] == name]}
        rewrite(path, figures | _laws(found, name))
        content = path.read_bytes()
        print(f'{name}: ({len(content)}, "{hashlib.sha256(content).hexdigest()}")')


def rewrite(path: Path, figures: dict[str, Any]) -> None:
    """Replace figures in a weight file's card, and the card beside it; tensors stay as they are.

    Parameters
    ----------
    path : Path
        Of the weight file; named as its card says.
    figures : dict
        Entries of the card, JSON values; others stay.
    """
    with safe_open(path, framework="np") as file:
        sizes = file.metadata()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    card = json.loads(sizes.pop("card")) | figures
    write_weights(path.parent, sizes.pop("kind"), int(sizes.pop("scale")), tensors, card, sizes)


def _laws(found: dict[str, Any], name: str) -> dict[str, Any]:
    """Return how well a model keeps the laws, and how fast it is."""
    own = [one for one in found.get("laws", []) if one["method"].split()[0] == name]
    laws = {law: max(one[law] for one in own) for law in ("equivariance", "seams") if own}
    seconds = {label.split()[0]: took for label, took in found.get("seconds", {}).items()}
    if name in seconds and _RIVAL in seconds:
        laws[f"times_as_fast_as_{_RIVAL}"] = seconds[_RIVAL] / seconds[name]
    return {"laws": laws} if laws else {}


if __name__ == "__main__":
    main()
