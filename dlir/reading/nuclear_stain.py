"""Which channel shows the nuclei, by the names of dyes: all rounds of a specimen have it, so their tiles are registered by it.

In the order of the table: a dye that stains nuclei alone comes before a word that may also name something else.
"""

import logging
import re
from collections.abc import Sequence

log = logging.getLogger(__name__)
DYES = (  # what the name of a channel holds, in small letters, with a space for each other sign
    r"dapi",
    r"hoechst|\bh ?33342\b|\bh ?33258\b|\bho ?342\b",
    r"draq ?[57]|sytox|syto ?[0-9]+|nuc ?blue|nuclear ?(green|red|yellow|mask)|to ?pro|yo ?pro|picogreen|vybrant",
    r"\bnucle(i|us|ar|o)\b|\bnuc\b|nuclear|\bh2b\b",
    r"\bds ?dna\b|\bdna\b|\bpropidium|\b7 ?aad\b|h(a)?ematoxylin",
)


def channel_of(names: Sequence[str]) -> int:
    """Returns the number of the channel of a nuclear stain; 0 where no name says which it is, with a warning.

    Args:
        names: of the channels; empty texts where nobody knows them.
    """
    plain = [re.sub(r"[^a-z0-9]+", " ", name.lower()) for name in names]
    for dye in DYES:
        for number, name in enumerate(plain):
            if re.search(dye, name):
                return number
    if len(names) != 1:
        log.warning(
            "no channel has the name of a nuclear stain, so the first one is registered: if all rounds share another one, set "
            "reference_channel, for all or in each round"
        )
    return 0
