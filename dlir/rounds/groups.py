"""Groups of rounds: those that the pixels join, by which round each was found against (tables.ROUNDS).

The first round leads one group. A round that matches none of these leads a group of its own, which lies to the first round only
where the stage says; the others of that group lie to it by the pixels.
"""

import pandas as pd


def found_against(maps: pd.DataFrame) -> dict[str, str]:
    """Returns the round against which each round was found by its pixels, by its name; each comes after that one."""
    chosen = maps[maps["found"] == "pixels"]
    given: dict[str, str] = dict(zip(chosen["round"], chosen["against"], strict=True))
    known, ordered = set(maps["round"]) - set(given), dict[str, str]()
    while left := [name for name in given if name not in known]:
        name = next(name for name in left if given[name] in known)
        ordered[name] = given[name]
        known.add(name)
    return ordered


def leaders(maps: pd.DataFrame) -> dict[str, str]:
    """Returns the leader of the group of each round, by its name."""
    found = {name: name for name in maps["round"]}
    for name, against in found_against(maps).items():
        found[name] = found[against]
    return found


def in_words(names: list[str]) -> str:
    """Returns names as words: R2, R3 and R4."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
