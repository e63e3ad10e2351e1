"""Findings on pairs, files, and settings: what contradicts the placement, and what is good to know."""

import numpy as np

from dlir.reporting.expected_error import counted
from dlir.reporting.findings import (
    GRADES,
    JOIN,
    SEAM,
    SURE,
    VIEW,
    Evidence,
    Finding,
    Grade,
    in_px,
    names_of,
    number_of,
    pair_in_words,
)
from dlir.survey.advice import OTHERS

CLEAR = 3.0  # standard deviations, by which a pair that contradicts the placement has to be off
LOWER_QUARTER = 0.25  # quantile of the NCC of pairs that count
LOW_NCC = 0.25  # pairs that match no better are faint
UNLIKE = 1.5  # times as bright as the dimmest: such a tile is told
MISSED = 0.25  # share of the synthetic pairs of a side that registration may miss untold


def layout(evidence: Evidence) -> list[Finding]:
    """The tiles contradict the layout that the settings state, or show nothing of it."""
    if evidence.survey is None:
        return []
    if (evidence.survey["layout"] == OTHERS).any():
        what = "the tiles do not show how far they overlap, as where a round is blank: the overlap is that of other rounds"
        return [Finding("layout", "look", what, "give overlap for this round, or leave it out where it is blank")]
    contradicted = evidence.survey[evidence.survey["layout"].isin(["other", "unclear"])]
    if contradicted.empty:
        return []
    advice = contradicted["advice"].dropna()
    remedy = (
        f"the tiles fit if {advice.iloc[0]}: set it for this dataset"
        if len(advice)
        else "check images, rows, columns, start, order, snake, first_index or positions"
    )
    sides = " and ".join(contradicted["side"])
    return [Finding("layout", "look", f"many tiles do not fit together as the settings say (steps {sides})", remedy)]


def contradicting(evidence: Evidence) -> list[Finding]:
    """Accepted pairs that surely match elsewhere than where their tiles lie.

    One that matches as well as pairs that fit do shows something real: the specimen moved, it repeats itself, or a tile is not
    what it seems. One that matches worse was just wrong.
    """
    if evidence.pairs is None:
        return []
    accepted = evidence.pairs[evidence.pairs["accepted"]]
    off = accepted[(accepted["misfit"] > SEAM) & (accepted["sigmas"] > CLEAR)].sort_values("misfit", ascending=False)
    usual = accepted.loc[~accepted["overruled"], "score_after"].quantile(LOWER_QUARTER)
    off = off.assign(real=~off["overruled"] | (off["score_after"] >= usual))
    found = []
    for overruled, real in ((False, True), (True, True), (True, False)):
        pairs = off[(off["overruled"] == overruled) & (off["real"] == real)]
        if pairs.empty:
            continue
        worst = pairs.iloc[0]
        is_user = worst["method"] == "user"
        name = f"your offset of tiles {worst['fixed']}-{worst['moving']}" if is_user else f"pair {pair_in_words(worst)}"
        which = f"{name} {'lies' if is_user else 'matches'}" if len(pairs) == 1 else f"{len(pairs)} pairs match"
        first = f", the furthest of them {name}" if len(pairs) > 1 else ""
        other = "; other pairs overrule that" if overruled else ", and still counts"
        what = f"{which} at least {in_px(worst['misfit'])} from where the tiles lie{first}{other}"
        tiles = list(dict.fromkeys(pairs[["fixed", "moving"]].to_numpy(int).ravel().tolist()))
        kind, grade = "overruled" if overruled else "misfit", GRADES[int(real)]
        numbers = pairs.loc[pairs["method"] != "user", "pair"].tolist()
        found.append(Finding(kind, grade, what, VIEW, tiles, numbers))
    return found


def repeated(evidence: Evidence) -> list[Finding]:
    """Pairs that match at several offsets alike."""
    if evidence.pairs is None:
        return []
    pairs = evidence.pairs[evidence.pairs["reason"].fillna("").str.startswith("ambiguous")]
    if pairs.empty:
        return []
    tiles = np.unique(pairs[["fixed", "moving"]])
    doubtful = evidence.placed["tile"].isin(tiles) & (evidence.placed["error"] > SURE)
    what = f"the specimen repeats itself: {number_of(len(pairs), 'pair')} fit at several places alike, and are not used"
    remedy = (
        "a plane without the pattern (reference_channel), a larger overlap, or offsets that you know, in a table of overrides"
    )
    grade: Grade = "look" if doubtful.any() else "good"
    return [Finding("repeated", grade, what, remedy, tiles.tolist(), pairs["pair"].tolist())]


def copies(evidence: Evidence) -> list[Finding]:
    """Files with the same content."""
    same = evidence.tiles[evidence.tiles.duplicated("sha256", keep=False)]
    if same.empty:
        return []
    shows = evidence.placed[~evidence.alone]["tile"]
    grade: Grade = "look" if same["tile"].isin(shows).any() else "good"  # empty tiles may well be alike
    what = (
        f"{number_of(len(same), 'tile')} have the same content as another: {names_of(evidence.placed, same['tile'].tolist())}"
    )
    return [
        Finding(
            "copies", grade, what, "replace the copies by the tiles that belong there, or remove them", same["tile"].tolist()
        )
    ]


def faint(evidence: Evidence) -> list[Finding]:
    """Pairs that count although they match little or are unsure, where others hold their tiles."""
    if evidence.pairs is None:
        return []
    used = counted(evidence.pairs)
    found = used[used["method"] != "user"]  # the user's offsets have no NCC
    pairs = found[(found["score_after"] < LOW_NCC) | found["reason"].fillna("").str.startswith("accepted although")]
    if pairs.empty:
        return []
    low = int((pairs["score_after"] < LOW_NCC).sum())
    ncc = f", {low} with an NCC below {LOW_NCC}" if low else ""
    verb = "is" if len(pairs) == 1 else "are"
    what = f"{len(pairs)} of {len(used)} pairs that count {verb} faint or doubtful{ncc}"
    tiles = np.unique(pairs[["fixed", "moving"]]).tolist()
    return [Finding("faint", "good", what, VIEW, tiles, pairs.sort_values("score_after")["pair"].tolist())]


def slipped(evidence: Evidence) -> list[Finding]:
    """Parts of the grid where the stage slipped."""
    placed = evidence.placed
    slip = np.hypot(placed["slip_y"], placed["slip_x"])
    if not (slip > 0).any():
        return []
    many = int((slip > 0).sum())
    who = f"{number_of(many, 'tile')} {'lies' if many == 1 else 'lie'}"
    what = f"the stage slipped: {who} up to {in_px(slip.max())} from where it says"
    return [Finding("slipped", "good", what, "", placed["tile"][slip > 0].tolist())]


def other_overlap(evidence: Evidence) -> list[Finding]:
    """Steps that the tiles show and the settings do not."""
    if evidence.survey is None or evidence.survey.empty:
        return []
    told, step = (evidence.survey[[f"{what}_y", f"{what}_x"]].to_numpy(float) for what in ("told", "step"))
    other = evidence.survey[(np.abs(told - step) > SEAM).any(axis=1)]
    if other.empty:
        return []
    shares = " and ".join(f"{100 * row['overlap']:.0f} % {row['side']}" for row in other.to_dict("records"))
    what = f"the tiles overlap by {shares}, not as the settings say; dlir follows the tiles"
    return [Finding("overlap", "good", what, "correct overlap, or the positions and pixel_size")]


def brightness(evidence: Evidence) -> list[Finding]:
    """Tiles of unlike brightness, and clipped pixels."""
    if evidence.exposure is None:
        return []
    found = []
    gain = evidence.exposure.groupby("tile")["gain"].max()
    dimmest, brightest = (int(tile) for tile in gain.sort_values().index[[0, -1]])
    if gain.max() > UNLIKE * gain.min():
        what = f"tile {brightest} is {gain.max() / gain.min():.1f} times as bright as tile {dimmest}; that is corrected"
        found.append(Finding("brightness", "good", what, "", [brightest, dimmest]))
    if clipped := int(evidence.exposure["clipped"].sum()):
        tiles = evidence.exposure.loc[evidence.exposure["clipped"] > 0, "tile"].unique().tolist()
        what = f"{clipped} dark pixels fall below 0 and are clipped"
        found.append(Finding("clipped", "good", what, "exposure: {pedestal: true}", tiles))
    return found


def missed(evidence: Evidence) -> list[Finding]:
    """Sides on which registration misses many pairs of known affine."""
    if evidence.selfcheck is None or evidence.pairs is None:
        return []
    own = evidence.selfcheck[evidence.selfcheck["method"].isin(evidence.pairs["method"].unique())]
    sides = own[own["over_2px"] > MISSED].to_dict("records")
    if not sides:
        return []
    shares = " and ".join(f"{row['over_2px']:.0%} {row['side']}" for row in sides)
    return [Finding("missed", "good", f"on crops of these tiles, the first registration misses {shares}", JOIN)]
