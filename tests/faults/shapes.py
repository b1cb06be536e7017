"""Workflows of the shape of real ones from science, as edges: wide stages, deep chains, joins of everything.

The shapes are those described by Juve et al., "Characterizing and profiling scientific workflows" (2013).
"""

from __future__ import annotations

from collections.abc import Iterator

Edges = Iterator[tuple[str, list[str]]]  # each job with its upstreams, upstreams first


def montage(width: int) -> Edges:
    """A mosaic of ``width`` images: projected, each overlap compared, one model of all, each corrected, one sum."""
    for i in range(width):
        yield f"project{i}", []
    overlaps = [(i, j) for i in range(width) for j in (i + 1, i + 2) if j < width]
    for i, j in overlaps:
        yield f"diff{i}x{j}", [f"project{i}", f"project{j}"]
    yield "concatfit", [f"diff{i}x{j}" for i, j in overlaps]
    yield "bgmodel", ["concatfit"]
    for i in range(width):
        yield f"background{i}", [f"project{i}", "bgmodel"]
    yield "imgtbl", [f"background{i}" for i in range(width)]
    yield "add", ["imgtbl"]
    yield "shrink", ["add"]
    yield "jpeg", ["shrink"]


def epigenomics(width: int) -> Edges:
    """Lanes of a sequencer, each split into chunks that go through a chain of four, joined by lane and then as one."""
    lanes, chunks = max(1, width // 10), 10
    for lane in range(lanes):
        yield f"split{lane}", []
        for chunk in range(chunks):
            before = f"split{lane}"
            for step in ("filter", "sanger", "bfq", "map"):
                yield f"{step}{lane}x{chunk}", [before]
                before = f"{step}{lane}x{chunk}"
        yield f"merge{lane}", [f"map{lane}x{chunk}" for chunk in range(chunks)]
    yield "mergeall", [f"merge{lane}" for lane in range(lanes)]
    yield "index", ["mergeall"]
    yield "pileup", ["index"]


def cybershake(width: int) -> Edges:
    """Two extractions, ``width`` syntheses of each, a peak of each, and two archives of everything."""
    for site in range(2):
        yield f"extract{site}", []
        for i in range(width):
            yield f"synth{site}x{i}", [f"extract{site}"]
            yield f"peak{site}x{i}", [f"synth{site}x{i}"]
    yield "zipseis", [f"synth{site}x{i}" for site in range(2) for i in range(width)]
    yield "zippsa", [f"peak{site}x{i}" for site in range(2) for i in range(width)]


SHAPES = {"montage": montage, "epigenomics": epigenomics, "cybershake": cybershake}
