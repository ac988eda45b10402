"""What a backend shows of its engine, held against the contract before anything is concluded from it.

An adapter that is wrong is named with what it showed. As with an engine that does not answer, nothing is believed of
the tree, and no other is hidden.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from flowbridge.backend import Backend
from flowbridge.model import EngineState, ExecutionLook, TaskStatus

Tree = tuple[ExecutionLook, ...]
#: The words that a backend never says of an execution: they are the bridge's own.
_OURS = frozenset({EngineState.ABSENT, EngineState.GONE})


def observed(backend: Backend, ids: Sequence[str]) -> tuple[dict[str, Tree], dict[str, str]]:
    """The native trees that a backend shows of these roots, and what is wrong with those that it must not show so."""
    seen = backend.observe(ids)
    trees = {id: seen[id] for id in ids if id in seen}
    wrong = {id: why for id, looks in trees.items() if (why := _wrong_tree(backend.name, id, looks))}
    told = {id: f"the backend {backend.name} shows {id} as it must not: {why}" for id, why in wrong.items()}
    return {id: looks for id, looks in trees.items() if id not in wrong}, told


def _wrong_tree(instance: str, root: str, looks: Tree) -> str:
    if not looks or looks[0].ref.id != root:
        return f"it is not the root of its tree, {looks[0].ref.id} is" if looks else "its tree is empty"
    known: set[str] = set()
    for look in looks:
        if look.ref.backend != instance:
            return f"{look.ref} is of another instance"
        if known and (look.parent is None or look.parent.id not in known):
            above = f"its parent {look.parent.id}" if look.parent else "a parent"
            return f"{look.ref.id} comes without {above} before it"
        if wrong := _wrong_word(look):
            return wrong
        known.add(look.ref.id)
    return ""


def _wrong_word(look: ExecutionLook) -> str:
    if _is_no(EngineState, look.state) or look.state in _OURS:
        return f"the state of {look.ref.id} is {look.state!r}, not an EngineState of {_words(set(EngineState) - _OURS)}"
    for task in look.tasks:
        if _is_no(TaskStatus, task.status):
            return f"the status of task {task.name} is {task.status!r}, not a TaskStatus of {_words(TaskStatus)}"
    return ""


def _is_no(kind: type, word: object) -> bool:
    return not isinstance(word, kind)  # an adapter without types may give any word


def _words(words: Iterable[str]) -> str:
    return ", ".join(sorted(words))
