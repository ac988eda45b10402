"""What a definition's text says before the engine sees it: workbook or workflows, their names, and where they stand.

The text is parsed into nodes and never into values, so every name has its line.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass, replace

import yaml

from flowbridge.backend import Definition, Deployed
from flowbridge.errors import InvalidInput
from flowbridge_mistral import nodes
from flowbridge_mistral.linking import Linker, Rules, action_names


@dataclass(frozen=True, slots=True)
class Text:
    """A definition, parsed. `kind` is the engine's collection for it, `names` are its workflows' full names.

    `root` is what the user wrote, `sent` what the engine gets. `linked` tells that it waits for work elsewhere.
    """

    definition: Definition
    root: yaml.MappingNode
    kind: str
    names: tuple[str, ...]
    book: str = ""
    sent: yaml.MappingNode | None = None
    linked: bool = False

    @property
    def deployed(self) -> Deployed:
        """Its workflows, the one to start by default first: `main`, else the first."""
        main = [name for name in self.names if name.rpartition(".")[2] == "main"]
        return Deployed(tuple(dict.fromkeys([*main, *self.names])), links=self.linked)

    @property
    def stored(self) -> tuple[str, ...]:
        """The names under which the engine stores it: a workbook is stored whole."""
        return self.names if self.kind == "workflows" else (self.book,)

    @property
    def text(self) -> str:
        """What the engine gets: as it was written, unless links had to be put in."""
        return self.definition.text if self.sent is None else nodes.text(self.sent)

    @property
    def actions(self) -> set[str]:
        """The actions that it names and does not define."""
        return action_names(self.root, self.kind)

    def with_links(self, rules: Rules) -> Text:
        """The same with its links. Raises `InvalidInput` with line and column for what cannot be linked."""
        linker = Linker(self.definition.source, rules)
        sent = linker.rewrite(self.root, self.kind)
        return replace(self, sent=None if sent is self.root else sent, linked=linker.found)

    def parts(self, known: Collection[str]) -> list[tuple[str, bool]]:
        """What to send, each with whether the engine knows it: the engine creates or updates all of a text, or none."""
        new = [name for name in self.stored if name not in known]
        if not new or len(new) == len(self.stored):
            return [(self.text, not new)]
        return [(self._only(new), False), (self._only([name for name in self.stored if name in known]), True)]

    def _only(self, names: Collection[str]) -> str:
        root = self.sent or self.root
        pairs = [pair for pair in root.value if pair[0].value == "version" or pair[0].value in names]
        return nodes.text(yaml.MappingNode(root.tag, pairs))

    def invalid(self, words: str) -> InvalidInput:
        """The engine's verdict, with the line of what it is about where that can be told."""
        node = _named(self.root, words)
        line, column = (node.start_mark.line + 1, node.start_mark.column + 1) if node else (None, None)
        gist = words.partition("\n\nFailed validating")[0].strip()
        return InvalidInput(gist, source=self.definition.source, line=line, column=column)


def parse(definition: Definition) -> Text:
    """Raises `InvalidInput` with line and column where the text is no YAML mapping."""
    root = _compose(definition)
    if not isinstance(root, yaml.MappingNode):
        raise InvalidInput(
            "a workflow definition is a mapping with version and one or more workflows", source=definition.source
        )
    keys = {key.value: value for key, value in root.value if isinstance(key, yaml.ScalarNode)}
    if isinstance(keys.get("name"), yaml.ScalarNode) or "workflows" in keys:
        book = getattr(keys.get("name"), "value", "")
        names = tuple(f"{book}.{name}" for name in _names(keys.get("workflows")))
        return Text(definition, root, "workbooks", names, book)
    return Text(definition, root, "workflows", tuple(_names(root)))


def _compose(definition: Definition) -> yaml.Node | None:
    # The loader in C is faster, takes the whole process down on text that is nested very deep, and reads anchors, which
    # the engine does not.
    try:
        return yaml.compose(definition.text, Loader=nodes.Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
        raise InvalidInput(f"no YAML: {error.problem}", source=definition.source, line=line, column=column) from error
    except (yaml.YAMLError, RecursionError) as error:
        raise InvalidInput(f"no YAML: {str(error).splitlines()[0]}", source=definition.source) from error


def _names(node: yaml.Node | None) -> list[str]:
    return [name for name, _ in nodes.pairs(node) if name != "version"]


def _named(root: yaml.MappingNode, words: str) -> yaml.Node | None:
    """The key that the engine's verdict is about: it prints what it refused, with the name it had."""
    found = re.findall(r"'name': '([^']+)'", words.rpartition("On instance")[2])
    left: list[yaml.Node] = [root]
    seen: set[int] = set()
    while found and left:
        node = left.pop()
        if isinstance(node, yaml.MappingNode) and id(node) not in seen:
            seen.add(id(node))
            pairs: nodes.Pairs = node.value
            for key, value in pairs:
                if key.value == found[-1]:
                    return key
                left.append(value)
    return None
