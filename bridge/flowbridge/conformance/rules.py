"""The rules of the law by number, each in a few words, and why some are not tried on one engine."""

from __future__ import annotations

from collections.abc import Mapping

#: Every rule of the law.
RULES: Mapping[str, str] = {
    "S1": "one set of words for every engine",
    "S2": "active is what really goes on",
    "S3": "the status is judged, the engine's word kept beside it",
    "S4": "paused stays paused",
    "S5": "nothing is stuck while it settles",
    "S6": "a local run whose process died is abandoned",
    "S7": "what the engine has forgotten is gone, not ended",
    "P1": "only what runs can be paused",
    "P2": "a pause goes down",
    "P3": "a pause goes up, and so to the peers",
    "P4": "pausing, then paused",
    "P5": "what runs ends, nothing new starts",
    "P6": "a child born late is held or canceled too",
    "P7": "a workflow that pauses itself holds its tree",
    "P8": "with nothing left to do it waits for its resume",
    "R1": "only what is paused can be resumed",
    "R2": "a resume goes down",
    "R3": "a resume never goes up",
    "R4": "refused where the engine would resume the parent",
    "R5": "a resume goes on where it stood",
    "C1": "whatever has not ended can be canceled",
    "C2": "what runs is not killed, nothing new starts",
    "C3": "a cancel goes down, at every level",
    "C4": "canceling, then canceled",
    "C5": "a canceled child ends its parent after the other branches",
    "X1": "re-run from the beginning",
    "X2": "re-run from tasks, in the same engine execution",
    "X3": "all named tasks must be errored, or nothing is done",
    "X4": "names in any order, once each",
    "X5": "dotted names reach into children",
    "X6": "with-items: all items, or the failed ones in their places",
    "X7": "dotted names cross engines",
    "X8": "a child's own id re-opens what is above it",
    "X9": "what stands behind a re-run task runs, joins count afresh",
    "K1": "skip an errored task",
    "O1": "a plan names everything and changes nothing",
    "O2": "checked first; an engine that is silent is not obeyed or believed",
    "O3": "a start is never done twice",
    "O4": "done is what the engine shows",
    "O5": "one operation at a time for each tree",
    "O6": "who, when, why, and what came of it",
    "O7": "what is so already has a reason of its own",
    "O8": "harm is refused, with a way to accept it",
    "O9": "the plan that was confirmed is carried out, or none",
    "O10": "a verb never widens and never does its opposite",
    "O11": "no end is faked",
    "O12": "what is changed outside is seen and not reverted",
    "O13": "what needs a driver says so",
}

#: Rules that no single engine can keep or break.
ELSEWHERE: Mapping[str, str] = {
    "S6": "the process that drives a local engine is the bridge's own",
    "X7": "it takes two engines",
    "O5": "the lease of a tree is the bridge's own",
    "O8": "its cases are P5, R4 and X6",
    "O13": "it takes two engines",
}


def in_order(rule: str) -> tuple[int, int]:
    """A key that sorts rules as the law does."""
    return "SPRCXKO".index(rule[0]), int(rule[1:])
