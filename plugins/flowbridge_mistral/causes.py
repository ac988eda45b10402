"""Why something failed, on one line and the cause first, from what Mistral writes over many lines.

Mistral repeats the failure of a task for each of its items and for each workflow above, with ids in between.
"""

from __future__ import annotations

import ast
import re

_ID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_RAISED = re.compile(
    rf"The action raised an exception \[action=.*?, action_ex_id={_ID}, msg='(.*?)'\](?=\n|$)", re.DOTALL
)
_TASK = re.compile(rf"(\S.*?) \[task_ex_id={_ID}\] -> (.*)")
_PART = re.compile(rf"\[(?:action_ex_id|wf_ex_id)={_ID}, idx=\d+\]: (.*)")
_ABOVE = "Failure caused by error in tasks: "

#: What the task of a link is told of an execution elsewhere that did not succeed, as the engine writes it.
_TOLD = frozenset({"execution", "workflow", "status", "error"})
_LINKED = "{'execution': "

#: What the engine writes of a task where the cause stands further down.
_NOTHING = frozenset({"One or more actions had failed.", "None"})


def one_line(words: str) -> str:
    """A message without the traceback behind it and without line breaks."""
    words = words.partition("\nTraceback (most recent call last)")[0].rstrip(":\n ")
    return "; ".join(line.strip() for line in words.splitlines() if line.strip())


def cause(words: str) -> str:
    """The causes that a state's information names, each once, behind the names of the tasks that lead to it."""
    words = words.partition("\nTraceback (most recent call last)")[0]
    words = _RAISED.sub(lambda found: one_line(found[1]), words)
    if not words.startswith(_ABOVE):
        return _of_link(one_line(words))
    told: dict[str, str] = {}  # what was told, with the tasks that lead to where it was told first
    path: list[str] = []
    for line in map(str.strip, words.splitlines()):
        text = line
        if found := _TASK.fullmatch(line):
            path.append(found[1])
            text = found[2]
        elif found := _PART.fullmatch(line):
            text = found[1]
        text = _of_link(text)
        if text and text not in _NOTHING and not text.startswith(_ABOVE):
            told.setdefault(text, ": ".join([*path, text]))
            path.clear()
    if path and not told:
        return ": ".join([*path, "its engine does not say why"])
    return "; ".join(told.values()) or one_line(words)


def _of_link(text: str) -> str:
    """What failed elsewhere, in its own words: the engine writes the whole result that the task of a link was told."""
    if not text.startswith(_LINKED):
        return text
    try:
        told = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text  # the engine has cut it off
    if not isinstance(told, dict) or told.keys() != _TOLD:
        return text
    return one_line(str(told["error"]))
