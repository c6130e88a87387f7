"""The foreign formats by name: what each is, which files it needs, and on which terms it may be used (§IV, Table I)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from geopix.data.foreign.found import Found, Place

Reader: TypeAlias = "Callable[[Place], Iterator[Found]]"


@dataclass(frozen=True, slots=True)
class Kind:
    """One format.

    Args:
        read: Its reader.
        about: What it is, in a line.
        layout: The files that its folder holds.
        terms: Where it comes from and what it may be used for.
        images: Its image folder, from its folder.
        anyones: Whether many sets come in this format, so that one is named after its folder.
    """

    read: Reader
    about: str
    layout: str
    terms: str
    images: str = "images"
    anyones: bool = False


def _sior(place: Place) -> Iterator[Found]:
    from geopix.data.sources import samrs

    return samrs.read(place, "sior")


def _fast(place: Place) -> Iterator[Found]:
    from geopix.data.sources import samrs

    return samrs.read(place, "fast")


def _sota(place: Place) -> Iterator[Found]:
    from geopix.data.sources import samrs

    return samrs.read(place, "sota")


def _dior_rsvg(place: Place) -> Iterator[Found]:
    from geopix.data.sources import dior_rsvg

    return dior_rsvg.read(place)


def _geopix_instruct(place: Place) -> Iterator[Found]:
    from geopix.data.sources import geopix_instruct

    return geopix_instruct.read(place)


def _vrsbench(place: Place) -> Iterator[Found]:
    from geopix.data.sources import vrsbench

    return vrsbench.read(place)


def _rsieval(place: Place) -> Iterator[Found]:
    from geopix.data.sources import rsieval

    return rsieval.read(place)


def _rsicap(place: Place) -> Iterator[Found]:
    from geopix.data.sources import rsicap

    return rsicap.read(place)


def _rrsis_d(place: Place) -> Iterator[Found]:
    from geopix.data.sources import rrsis_d

    return rrsis_d.read(place)


def _refsegrs(place: Place) -> Iterator[Found]:
    from geopix.data.sources import refsegrs

    return refsegrs.read(place)


def _geochat(place: Place) -> Iterator[Found]:
    from geopix.data.sources import geochat

    return geochat.read(place)


def _coco(place: Place) -> Iterator[Found]:
    from geopix.data.sources import coco

    return coco.read(place)


def _dota(place: Place) -> Iterator[Found]:
    from geopix.data.sources import dota

    return dota.read(place)


def _ucm(place: Place) -> Iterator[Found]:
    from geopix.data.sources import ucm

    return ucm.read(place)


def _rsicd(place: Place) -> Iterator[Found]:
    from geopix.data.sources import rsicd

    return rsicd.read(place)


_SAMRS = "SAMRS (Wang et al. 2023), for research purposes only; its images are those of "
_DIOR = "DIOR (Li et al. 2020), for research"

KINDS: dict[str, Kind] = {
    "coco": Kind(
        _coco,
        "COCO instances: masks and boxes, such as NWPU VHR-10",
        "`annotations.json` (or files with train, val and test in their names), `images/`, and perhaps a `split.json` "
        '{"train": [file names], ...}',
        "its makers'; NWPU VHR-10 (Cheng et al. 2014, masks by Su et al.) is for research purposes only",
        anyones=True,
    ),
    "dota": Kind(
        _dota,
        "DOTA's text files of oriented boxes, which become upright ones without masks",
        "`labelTxt/*.txt`, `images/`",
        "its makers'; GDIT's airports are public domain, DOTA (Xia et al. 2018) is for academic use only",
        anyones=True,
    ),
    "sior": Kind(
        _sior,
        "SAMRS, the masks on DIOR: root of SIOR-T",
        "`ins/*.pkl`, `images/*.jpg`, and perhaps `train.txt`, `valid.txt`",
        f"{_SAMRS}{_DIOR}",
    ),
    "fast": Kind(
        _fast,
        "SAMRS, the masks on FAIR1M: root of FAST-T",
        "`ins/*.pkl`, `images/*.png`, and perhaps `train.txt`, `valid.txt`",
        f"{_SAMRS}FAIR1M (Sun et al. 2022), for non-commercial use",
    ),
    "sota": Kind(
        _sota,
        "SAMRS, the masks on DOTA: root of SOTA-T",
        "`ins/*.pkl`, `images/*.png`, and perhaps `train.txt`, `valid.txt`",
        f"{_SAMRS}DOTA (Xia et al. 2018), for academic use only",
    ),
    "dior_rsvg": Kind(
        _dior_rsvg,
        "DIOR-RSVG, sentences that mean one box each",
        "`Annotations/*.xml`, `JPEGImages/`, and `train.txt`, `val.txt`, `test.txt` of running numbers",
        f"DIOR-RSVG (Zhan et al. 2023), for research; its images are those of {_DIOR}",
        images="JPEGImages",
    ),
    "geopix_instruct": Kind(
        _geopix_instruct,
        "GeoPixInstruct-Anno as the paper's authors published it, or what geopix data export wrote",
        "`*.parquet` (with `--check none` where there are no images)",
        "GeoPixInstruct (Ou et al. 2025), annotations MIT; its images are those of SAMRS: DIOR, FAIR1M, DOTA",
    ),
    "vrsbench": Kind(
        _vrsbench,
        "VRSBench, captions, questions and referring sentences",
        "any of `VRSBench_train.json` and `VRSBench_EVAL_{Cap,referring,vqa}.json`; `Images_train/`, `Images_val/`",
        "VRSBench (Li et al. 2024), CC BY 4.0; its images are those of DOTA and DIOR, for research",
        images=".",
    ),
    "rsieval": Kind(
        _rsieval,
        "RSIEval, captions and questions for evaluation",
        "`annotations.json`, `images/`",
        "RSIEval (Hu et al. 2023), for research; its images are those of DOTA, for academic use only",
    ),
    "rsicap": Kind(
        _rsicap,
        "RSICap, long captions",
        "`captions.json`, `images/`",
        "RSICap (Hu et al. 2023), for research; its images are those of DOTA, for academic use only",
    ),
    "rrsis_d": Kind(
        _rrsis_d,
        "RRSIS-D, referring expressions with masks",
        "`rrsisd/refs(unc).p`, `rrsisd/instances.json`, `images/rrsisd/JPEGImages/`",
        f"RRSIS-D (Liu et al. 2024), for research; its images are those of {_DIOR}",
        images="images/rrsisd/JPEGImages",
    ),
    "refsegrs": Kind(
        _refsegrs,
        "RefSegRS, phrases with masks of all they mean",
        "`output_phrase_{train,val,test}.txt`, `images/*.tif`, `masks/*.tif`",
        "RefSegRS (Yuan et al. 2024), for research; its images are those of SkyScapes (DLR), for research",
    ),
    "geochat": Kind(
        _geochat,
        "GeoChat-Instruct, conversations with boxes in words",
        "`GeoChat_Instruct.json`, `images/`",
        "GeoChat-Instruct (Kuckreja et al. 2024); its images come from many sets, each with terms of its own",
    ),
    "ucm": Kind(
        _ucm,
        "UC Merced Land Use, captions and questions",
        "`captions.json`, `vqa.json`, and the images at the paths that these name",
        "images of the USGS National Map, public domain (Yang and Newsam 2010); captions Qu et al. 2016; questions "
        "RSIVQA (Zheng et al. 2021), for research",
        images=".",
    ),
    "rsicd": Kind(
        _rsicd,
        "RSICD, five captions an image",
        "`captions.json` or `dataset_rsicd.json`, `images/`",
        "RSICD (Lu et al. 2017), for academic use only",
    ),
}
"""In the order in which ``geopix data import --help`` lists them."""
