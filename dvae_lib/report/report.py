"""The reproduction report: the papers' figures and tables, our counterparts, and the verdicts (chapter 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from dvae_lib.experiments import find, study
from dvae_lib.report import published
from dvae_lib.report.claims import claims, on_photographs
from dvae_lib.report.quantities import mean_and_deviation
from dvae_lib.report.verdicts import Claim


@dataclass(frozen=True)
class Item:
    """An item of the papers and its counterpart in this book. runs: names of the experiments it shows; empty if none.

    claims: the numbers of the claims that it supports. data: “stb” or “rhd” if only runs on this set, or on the
    rendered set that resembles it, count.
    """

    printed: str
    label: str
    runs: tuple[str, ...] = ()
    claims: tuple[int, ...] = ()
    data: str = ""


# On rendered hands, experiments on the RHD-like set have names of their own (…-rhd); on RHD itself they do not.
_POSE = tuple(f"{name}{suffix}" for suffix in ("", "-rhd") for name in ("dvae-pose", "cross-modal", "two-stream"))
ITEMS = (
    Item("Fig. 1", "fig-illustration"),
    Item("Fig. 2", "fig-graphical-models"),
    Item("Fig. 3", "fig-inference-models"),
    Item("Fig. 4, supplement Fig. 2", "fig-walk-pose-content", ("dvae-image",), (7,)),
    Item("Fig. 5, supplement Fig. 3", "fig-walk-zu", ("dvae-zu",), (7,)),
    Item("Fig. 6, supplement Fig. 5", "fig-pose-transfer", ("dvae-image",), (6,)),
    Item("Fig. 7, RHD", "fig-pck-rhd", _POSE, data="rhd"),
    Item("Fig. 7, STB", "fig-pck-stb", _POSE, data="stb"),
    Item("Sec. 4.4, EPE", "tab-epe", _POSE, (1, 4)),
    Item("Fig. 8", "fig-pose-qualitative", ("dvae-pose", "dvae-pose-rhd"), (3,)),
    Item("Fig. 9", "fig-semi-weak", ("labelled-5", "semi-5", "weak-5"), (5,)),
    Item("Supplement Fig. 1", "fig-beta-d", ("ablation-100-64",), (8,)),
    Item("Supplement Fig. 4", "fig-walk-cpose-viewpoint", ("dvae-pose", "dvae-pose-rhd")),
    Item("Supplement Fig. 6", "fig-random-samples", ("dvae-image",)),
    Item("Supplement Table 1", "tab-architecture-image"),
    Item("Supplement Table 2", "tab-architecture-pose"),
    Item("Supplement Table 3", "tab-architecture-shared"),
    Item("Supplement Sec. E", "tab-beta-vae-score", ("dvae-image-8",), (9,)),
    Item(
        "Supplement Table 4",
        "tab-disentanglement",
        ("dvae-pose", "dvae-pose-rhd", "cross-modal", "cross-modal-rhd"),
        (10,),
        "rhd",
    ),
    *(Item(f"Algorithm {i}", f"alg-{i}") for i in (1, 2)),
    *(Item(f"Eq. {i}", f"eq-{i}") for i in range(1, 9)),
    Item(
        "Sec. 2.1, joint training",
        "tab-crossmodal-joint",
        ("steady-joint", "steady-alternating", "steady-passes"),
        (2,),
    ),
    Item("Spurr et al., Fig. 1", "fig-crossmodal-tsne", ("cross-modal",)),
    Item("Spurr et al., Fig. 2", "fig-crossmodal-schematic"),
)


@dataclass(frozen=True)
class Row:
    """An item with its numbers, if it has any, and the verdicts of the claims that it supports."""

    item: Item
    provenance: Mapping[str, Mapping[str, str]]  # by experiment: see `provenance`
    printed: str
    ours: str
    verdict: str


@dataclass(frozen=True)
class Report:
    """claims: all ten. on_photographs: two of them, also tested on photographs with known person and gesture."""

    rows: Sequence[Row]
    claims: Sequence[Claim]
    on_photographs: Sequence[Claim]

    @property
    def failed(self) -> list[int]:
        return self._numbers("fails")

    @property
    def open(self) -> list[int]:
        return self._numbers("open")

    @property
    def waiting(self) -> list[int]:
        return [claim.number for claim in self.claims if claim.seeds]

    def _numbers(self, verdict: str) -> list[int]:
        return [claim.number for claim in self.claims if claim.verdict == verdict]

    def as_dict(self) -> dict:
        claims = {"claims": self.claims, "claims on photographs": self.on_photographs}
        said = {name: [claim.as_dict() for claim in some] for name, some in claims.items()}
        return said | {"items": [asdict(row) for row in self.rows]}


def report() -> Report:
    """The whole report, from the study's records on the selected data."""
    measured = list(claims())
    rows = [_row(item, {claim.number: claim for claim in measured}) for item in ITEMS]
    return Report(rows, measured, on_photographs())


def provenance(name: str) -> dict[str, str]:
    """The origin of an experiment's records: number of seeds, data, hardware, date, version, and the commit in which
    settings and thresholds were fixed beforehand.
    """
    records, planned = study.load(name), study.planned()[name]
    about = {"seeds": f"{len(records)} of {planned}", "data": " + ".join(find(name, "study").data)}
    for key in ("hardware", "date", "version", "registered"):
        values = sorted({str(record.numbers[key]) for record in records}) or ["none yet"]
        about[key] = " to ".join([values[0], values[-1]][: len(values)]) if key == "date" else ", ".join(values)
    return about


def _row(item: Item, measured: Mapping[int, Claim]) -> Row:
    known = {name: find(name, "study") for name in item.runs if name in study.planned()}
    own = [name for name, e in known.items() if e.data[0].endswith(item.data)]
    if not item.runs:
        return Row(item, {}, "", "", "in the book")
    if not own:
        return Row(item, {}, "", "", "not available for these data")
    verdicts = "; ".join(f"claim {number}: {measured[number].verdict}" for number in item.claims)
    return Row(item, {name: provenance(name) for name in own}, *_numbers(item, own), verdicts or "shown")


def _numbers(item: Item, own: Sequence[str]) -> tuple[str, str]:
    """The dVAE's number in the papers, and ours, if the item has one."""
    if item.label.startswith("fig-pck"):
        (area,) = {record.value for record in published.find(item.label[-3:], "auc", "dVAE")}
        return f"AUC {area:.3f}", f"AUC {evaluated(own[0], 'scores', 'auc_20_50_reference')}"
    if item.label == "tab-epe":
        theirs = {kind: published.find(kind, "epe", "dVAE")[0].value for kind in ("rhd", "stb")}
        dvae = [name for name in own if name.startswith("dvae-pose")]
        ours = (f"{find(name, 'study').data[0]} {evaluated(name, 'epe', digits=1)}" for name in dvae)
        printed = ", ".join(f"{kind.upper()} {value:.2f}" for kind, value in theirs.items())
        return f"{printed} mm", ", ".join(ours) + " mm"
    return "", ""


def evaluated(name: str, *path: str, source: str = "image", digits: int = 3) -> str:
    """A number from the evaluations in an experiment's records: the mean and the standard deviation over seeds."""
    values = []
    for record in study.load(name):
        value = record.numbers["report"]["from"][source]
        for key in path:
            value = value[key]
        values.append(value)
    return mean_and_deviation(values, digits)
