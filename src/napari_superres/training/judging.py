"""What a fine-tuned model is worth: the same sources for it, the embedded model and bicubic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_superres.training.classical import interpolate
from napari_superres.training.degrading import FAITHFUL
from napari_superres.training.heads import error_ratios
from napari_superres.training.preview import EDGE
from napari_superres.training.validate import predict
from napari_superres.trust.similarity import psnr

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_superres.models.families.microscopy.network import MicroscopyNet
    from napari_superres.training.degrading import Degrading
    from napari_superres.training.own_images import Piece
    from napari_superres.training.recording import Pair

_JUDGE_STREAM = 5
_MOST = 12
_PICTURES = 3


@dataclass(frozen=True, eq=False)
class Exam:
    """One source with its truth, and what others make of it.

    Parameters
    ----------
    case : str
        `FAITHFUL` or `RESTORING`.
    pair : Pair
        With the context around what is judged.
    judged : tuple of slice
        In truth pixels.
    bicubic, embedded : float
        PSNR of the two, in decibels.
    """

    case: str
    pair: Pair
    judged: tuple[slice, slice]
    bicubic: float
    embedded: float

    def psnr(self, network: MicroscopyNet) -> float:
        """Return a network's PSNR in decibels."""
        result = predict(network, self.pair.source, self.pair.local_noise, self.pair.scale)
        return psnr(result[self.judged], self.pair.truth[self.judged])


class Judge:
    """Compares networks on parts of images that no step has seen.

    Parameters
    ----------
    pieces : sequence of Piece
        At most 12 of them are used, at even distances.
    degrading : Degrading
        Middle blur, middle camera.
    scale : int
        Scale factor.
    seed : int
        Of the noise; the same for all methods.
    embedded : MicroscopyNet
        What is compared with.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        degrading: Degrading,
        scale: int,
        seed: int,
        embedded: MicroscopyNet,
    ) -> None:
        chosen = np.unique(np.linspace(0, len(pieces) - 1, min(_MOST, len(pieces))).round())
        self.exams: list[Exam] = []
        self._embedded = embedded
        for number in chosen.astype(int):
            piece = pieces[number]
            rng = np.random.default_rng([seed, _JUDGE_STREAM, int(number)])
            for case in degrading.cases:
                pair = (
                    degrading.coarser(piece.light, scale)
                    if case == FAITHFUL
                    else degrading.restoring(piece, scale, rng)
                )
                self.exams.append(_exam(case, pair, piece.judged, embedded))

    def gain(self, network: MicroscopyNet) -> float:
        """Return the gain over the embedded model in decibels, the mean of the cases' means."""
        return float(np.mean([row["gain"] for row in self.table(network).values()]))

    def table(self, network: MicroscopyNet) -> dict[str, dict[str, float]]:
        """Return by case: images, mean PSNR of each method, paired gain, share that is better."""
        scores: dict[str, list[tuple[float, float, float]]] = {}
        for exam in self.exams:
            row = (exam.bicubic, exam.embedded, exam.psnr(network))
            scores.setdefault(exam.case, []).append(row)
        rows = {}
        for case, values in scores.items():
            bicubic, embedded, tuned = np.array(values).T
            rows[case] = {
                "images": len(values),
                "bicubic": round(float(bicubic.mean()), 2),
                "embedded": round(float(embedded.mean()), 2),
                "tuned": round(float(tuned.mean()), 2),
                "gain": round(float((tuned - embedded).mean()), 3),
                "better": round(float((tuned > embedded).mean()), 3),
            }
        return rows

    def ratios(self, network: MicroscopyNet) -> dict[str, np.ndarray]:
        """Return each judged pixel's error in units of its predicted scale, by case and number."""
        pairs = {f"{exam.case}-{n}": exam.pair for n, exam in enumerate(self.exams)}
        found = error_ratios(network, pairs)
        return {
            name: found[name][exam.judged] for name, exam in zip(pairs, self.exams, strict=True)
        }

    def pictures(self, network: MicroscopyNet) -> list[list[np.ndarray]]:
        """Return rows of source, embedded model, `network` and truth, all on truth's pixels."""
        hard = [exam for exam in self.exams if exam.case == self.exams[-1].case]
        rows = []
        for exam in hard[:: max(1, len(hard) // _PICTURES)][:_PICTURES]:
            pair, scale = _cut(exam.pair), exam.pair.scale
            row = [interpolate(pair.source, scale, "nearest")]
            row += [
                predict(one, pair.source, pair.local_noise, scale)
                for one in (self._embedded, network)
            ]
            rows.append([*row, pair.truth])
        return rows


def _exam(case: str, pair: Pair, judged: tuple[slice, slice], embedded: MicroscopyNet) -> Exam:
    truth = pair.truth[judged]
    bicubic = psnr(interpolate(pair.source, pair.scale, "bicubic")[judged], truth)
    unjudged = Exam(case, pair, judged, bicubic, 0.0)
    return replace(unjudged, embedded=unjudged.psnr(embedded))


def _cut(pair: Pair) -> Pair:
    """Return the corner of a pair that a picture has room for."""
    edge = EDGE // pair.scale
    source = pair.source[:edge, :edge]
    return replace(pair, source=source, truth=pair.truth[: edge * pair.scale, : edge * pair.scale])
