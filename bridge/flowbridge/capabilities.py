"""Facts that a backend declares about its engine. They save requests and refuse harm; nothing is believed for them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from flowbridge.model import Verb


class Cascade(StrEnum):
    """What an engine does by itself to executions it links natively."""

    PAUSE_DOWN = "pause_down"
    PAUSE_UP = "pause_up"
    RESUME_DOWN = "resume_down"
    CANCEL_DOWN = "cancel_down"
    RERUN_UP = "rerun_up"  # re-running a task of a child re-opens its ancestors


class ResumeUp(StrEnum):
    """When an engine, by itself, resumes the parent of a resumed child (R4)."""

    NEVER = "never"
    LAST_PAUSED = "last_paused"  # when no other task under that parent, nor item beside it, is paused, and so on up
    ALWAYS = "always"


class PartialRerun(StrEnum):
    """Whether an engine re-runs only the failed items of a with-items task (X6)."""

    YES = "yes"
    NO = "no"
    LAST_FAILED = "last_failed"  # right only when the last item failed, or items run one at a time


class JoinUnderPause(StrEnum):
    """What a join does when its last inbound task ends under a pause (P5)."""

    HELD = "held"
    MAY_SLIP = "may_slip"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Facts about an engine. They save requests and refuse harm; what happened is only believed when seen (O4).

    `verbs`: verbs the engine itself has. `delayed_starts_under_pause`: a delayed task (wait-before, retry, items
    behind a concurrency limit) starts its action although its workflow is paused or canceled. `remedy` is a sentence
    for the end of a refusal: how this instance could be set up so that R4 and X6 hold for sub-workflows, "" where there
    is no way; `remedy_of_actions` how a workflow could be written so that X6 holds for items that are actions.
    """

    verbs: frozenset[Verb]
    cascades: frozenset[Cascade] = frozenset()
    resume_up: ResumeUp = ResumeUp.NEVER
    partial_rerun: PartialRerun = PartialRerun.YES
    join_under_pause: JoinUnderPause = JoinUnderPause.HELD
    delayed_starts_under_pause: bool = False
    hosts_children: bool = False
    remedy: str = ""
    remedy_of_actions: str = ""
