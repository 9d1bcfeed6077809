"""What the papers found, computed for any weights of the family and drawn.

"MambaIR" (arXiv 2402.15648) and "MambaIRv2" (arXiv 2411.15269) rest on observations about scans:
that four directions say much the same, that a token's influence decays along the sequence, that
prompts and reordering mend it. Each observation is one file here: a function of a :class:`Subject`
(a network and a picture) that returns a :class:`Finding` (figures, a table, a drawing). The
formulas are in ``docs/design/findings.md``.

Examples:
    >>> import mambair, numpy as np
    >>> from mambair.findings import Subject, semantic_neighbors
    >>> picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)  # RGB
    >>> finding = semantic_neighbors(Subject(mambair.load("tiny_x2").net, picture))
    >>> len(finding.table())  # a line for every block
    6
"""

from __future__ import annotations

from collections.abc import Callable

from mambair.findings.attention_matrix import AttentionMatrix, attention_matrix
from mambair.findings.attentive_map import AttentiveMap, attentive_map
from mambair.findings.decay import Decay, decay
from mambair.findings.direction_redundancy import DirectionRedundancy, direction_redundancy
from mambair.findings.finding import Finding, FindingError, NotApplicableError
from mambair.findings.receptive_field import ReceptiveField, receptive_field
from mambair.findings.semantic_neighbors import SemanticNeighbors, semantic_neighbors
from mambair.findings.subject import Subject

# Those of one network and one picture, by name; the receptive field is that of several.
OF_ONE_PICTURE: dict[str, Callable[[Subject], Finding]] = {
    "attentive_map": attentive_map,
    "semantic_neighbors": semantic_neighbors,
    "direction_redundancy": direction_redundancy,
    "decay": decay,
    "attention_matrix": attention_matrix,
}

__all__ = [
    "OF_ONE_PICTURE",
    "AttentionMatrix",
    "AttentiveMap",
    "Decay",
    "DirectionRedundancy",
    "Finding",
    "FindingError",
    "NotApplicableError",
    "ReceptiveField",
    "SemanticNeighbors",
    "Subject",
    "attention_matrix",
    "attentive_map",
    "decay",
    "direction_redundancy",
    "receptive_field",
    "semantic_neighbors",
]
