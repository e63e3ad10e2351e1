"""Findings on places: tiles that nothing holds surely, and why."""

import pandas as pd

from dlir.reporting.expected_error import DOUBT, counted
from dlir.reporting.findings import (
    JOIN,
    MOST_NAMES,
    SEAM,
    SURE,
    VIEW,
    Evidence,
    Finding,
    in_px,
    names_of,
    pair_in_words,
    worst_first,
)

INEXACT = "a larger overlap; or place: {model: translation}, if the tiles are not turned or scaled against each other"


def not_held(evidence: Evidence) -> list[Finding]:
    """The mosaic as a whole is in doubt: no pair was accepted, or pairs surely hold less than half of it."""
    placed = evidence.placed
    if len(placed) == 1:
        return []
    every, alone = placed["tile"].tolist(), evidence.alone
    check = "check the layout with `dlir preview`, and the overlap"
    if alone.all():
        what = f"no pair of tiles could be matched: all {len(placed)} tiles lie where the stage says"
        return [Finding("unmatched", "bad", what, f"{check}; or {JOIN}", every)]
    single = (placed.groupby("body")["tile"].transform("size") == 1).to_numpy()
    doubtful = single & (evidence.within_group > SEAM) & ~alone
    held = int((~alone).sum())
    if doubtful.sum() >= held / 2:
        what = f"pairs surely hold only {held - doubtful.sum()} of {len(placed)} tiles: many pairs may be wrong"
        return [Finding("unsure", "bad", what, f"{check}; what joins tiles better: {JOIN}", worst_first(placed, doubtful))]
    fits = evidence.survey is not None and (evidence.survey["layout"] == "fits").any()
    if held < len(placed) / 2 and not fits:
        what = f"pairs hold only {held} of {len(placed)} tiles, and too little matches to tell whether the layout is right"
        return [Finding("unmatched", "bad", what, f"{check}; or {JOIN}", placed["tile"][alone].tolist())]
    return []


def weak(evidence: Evidence) -> list[Finding]:
    """Tiles that hang on pairs which may be wrong, or which are inexact."""
    placed, error = evidence.placed, evidence.within_group
    doubtful = (error > SURE) & ~evidence.alone
    if not doubtful.any():
        return []
    tiles = worst_first(placed.assign(error=error), doubtful)
    joints = _weak_joints(evidence, tiles)
    which = names_of(placed, tiles[:1])
    who = f"tile {which} may be off by" if len(tiles) == 1 else f"{len(tiles)} tiles may be off, tile {which} by"
    what = f"{who} up to {in_px(error[doubtful].max())}: "
    if joints.empty:
        return [Finding("inexact", "look", f"{what}the errors of pairs add up from tile to tile", INEXACT, tiles)]
    them = "it" if len(tiles) == 1 else "them"
    what += f"only pairs that are faint or may be wrong hold {them}, such as pair {pair_in_words(joints.iloc[0])}"
    return [Finding("weak", "look", what, VIEW, tiles, joints["pair"].tolist())]


def _weak_joints(evidence: Evidence, tiles: list[int]) -> pd.DataFrame:
    """The pairs (tables.AFFINES) that hold these tiles and are not sure, the least certain first."""
    if evidence.pairs is None:
        return pd.DataFrame({"pair": []})
    used = counted(evidence.pairs)
    joints = used[used[["fixed", "moving"]].isin(tiles).any(axis=1) & (used["confidence"] < 1 - DOUBT)]
    return joints.sort_values(["confidence", "score_after"])


def groups(evidence: Evidence) -> list[Finding]:
    """Groups of tiles that no pair joins."""
    placed = evidence.placed
    sizes = placed[~evidence.alone].groupby("group")["tile"].size().sort_values(ascending=False)
    known = placed.loc[placed["body"] == 0, "group"].iloc[0]  # the errors are against the largest body
    others = placed["group"].isin(sizes.index.drop(known, errors="ignore")).to_numpy()
    if len(sizes) < 2 or not (placed.loc[others, "error"] > SURE).any():
        return []
    listed = ", ".join(map(str, sizes.iloc[:MOST_NAMES])) + (" ..." if len(sizes) > MOST_NAMES else "")
    what = (
        f"the tiles form {len(sizes)} groups (of {listed} tiles) that no pair joins: where one lies to another, only the stage "
        f"says, to about {in_px(placed.loc[others, 'error'].max())}"
    )
    return [Finding("groups", "look", what, JOIN, worst_first(placed, others))]


def alone(evidence: Evidence) -> list[Finding]:
    """Tiles that only the stage places."""
    placed = evidence.placed
    single = evidence.alone & (placed["error"] > SURE).to_numpy()
    if not single.any() or single.all():
        return []
    tiles = worst_first(placed, single)
    who = (
        "1 tile has no pair that counts: it lies"
        if len(tiles) == 1
        else f"{len(tiles)} tiles have no pair that counts: they lie"
    )
    what = f"{who} where the stage says, to about {in_px(placed.loc[single, 'error'].median())}: {names_of(placed, tiles)}"
    return [Finding("alone", "look", what, f"nothing, where they are empty; else {JOIN}", tiles)]


def distorted(evidence: Evidence) -> list[Finding]:
    """The camera distorts all tiles alike."""
    most = float(evidence.stretch.max(initial=0))
    if most <= SURE:
        return []
    so = f"Neighbours fit, but the mosaic as a whole may be stretched or shrunk by up to {in_px(most)} towards its corners"
    if evidence.lenses:
        what = f"the overlaps show too little of how the lens distorts the tiles. {so}"
        remedy = (
            "a larger overlap, or the distortion of a run that knows it better; else measure no long distances in the mosaic"
        )
    else:
        what = f"the camera seems to distort all tiles alike: the overlaps are bent. {so}"
        remedy = (
            "give the dataset distortion: auto, or the distortion of the lens where you know it. If it is auto, the overlaps "
            "show too little of it: do not measure long distances in the mosaic"
        )
    return [Finding("distorted", "look", what, remedy, worst_first(evidence.placed, evidence.stretch > SURE))]


def adopted(evidence: Evidence) -> list[Finding]:
    """A placement of another run, of which nothing says how exact it is."""
    if evidence.placed["error"].notna().any() or len(evidence.placed) == 1:
        return []
    what = "the places were taken from another table, and nothing was measured here that would say whether they are right"
    return [Finding("adopted", "look", what, "look at some seams, or delete placement, so that the tiles are registered")]
