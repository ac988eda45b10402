"""What the actions of a chain say of it beforehand: whether it links other engines."""

from __future__ import annotations

from flowbridge.backend import Definition
from flowbridge.errors import FlowbridgeError
from flowbridge_actionchain.births import LINK
from flowbridge_actionchain.language import Chain, parse
from flowbridge_actionchain.packs.catalog import Catalog
from flowbridge_actionchain.packs.metadata import text_of
from flowbridge_actionchain.packs.runnertypes import CHAIN, ELSEWHERE


def may_link(chain: Chain, catalog: Catalog) -> bool:
    """Whether a task of a chain, or of one that it calls, runs elsewhere. What is wrong there is told when it runs."""
    return any(calls_elsewhere(ref, catalog) for ref in {node.ref for node in chain.nodes.values()})


def calls_elsewhere(ref: str, catalog: Catalog) -> bool:
    """The same of an action by its name."""
    seen: set[str] = set()
    refs = {ref}
    while refs:
        ref = refs.pop()
        if ref == LINK:
            return True
        if ref in seen:
            continue
        seen.add(ref)
        try:
            action = catalog.get(ref)
            if action.runner_type in ELSEWHERE:
                return True
            if action.runner_type == CHAIN and action.entry_point is not None:
                below = parse(Definition(text_of(action.entry_point), str(action.entry_point)))
                refs |= {node.ref for node in below.nodes.values()}
        except FlowbridgeError:
            continue
    return False
