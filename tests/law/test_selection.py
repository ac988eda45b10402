"""Which tasks a re-run or a skip means (X, K)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from flowbridge.errors import InvalidInput, NotFound, Rejected, Unsupported
from flowbridge.law import reopening, selection
from flowbridge.law.selection import (
    Chosen,
    at_path,
    check_partial,
    check_rerun_whole,
    partial,
    rerun_effect,
    select,
    skip_effect,
)
from flowbridge.model import EngineState, ItemRead, Node, Snapshot, Status, TaskRerun, TaskStatus, Want
from support.snapshots import FACTS, errored, execution, names, task, tree

OK = TaskStatus.SUCCEEDED


def chosen(snapshot: Snapshot, *tasks: str, place: int = 0) -> list[tuple[int, str]]:
    """Where the named tasks are."""
    return names(select(snapshot, place, tasks, "re-run"))


def rejected(snapshot: Snapshot, *tasks: str, place: int = 0) -> Rejected:
    """The rejection of a selection."""
    with pytest.raises(Rejected) as caught:
        select(snapshot, place, tasks, "re-run")
    return caught.value


def nested() -> Snapshot:
    """root.t1 -> sub (t1.s1 -> deep), root.t2; all errored."""
    return tree(
        errored("root", -1, task("t1"), task("t2"), task("fine", OK)),
        errored("sub", 0, task("s1"), task("s2", OK), parent_task="t1"),
        errored("deep", 1, task("d1"), parent_task="s1"),
    )


@pytest.mark.parametrize("status", Status)
def test_X1_a_re_run_from_the_beginning_needs_an_ended_or_abandoned_execution(status: Status) -> None:
    snapshot = tree(execution("a", status))
    if status in ("canceled", "succeeded", "errored", "abandoned"):
        assert check_rerun_whole(snapshot, 0).wants == {}
        return
    with pytest.raises(Rejected, match=f"is {status}.*X1"):
        check_rerun_whole(snapshot, 0)


def test_S7_a_gone_execution_can_be_re_run_from_the_beginning_and_not_from_tasks() -> None:
    gone = tree(errored("a", -1, task("t1"), gone=True, state=EngineState.GONE))
    assert check_rerun_whole(gone, 0).reopened == ()
    assert rejected(gone, "t1").rule == "S7"


@pytest.mark.parametrize("status", [Status.RUNNING, Status.ERRORED])
def test_S7_tasks_of_a_gone_child_cannot_be_named_and_the_message_says_so(status: Status) -> None:
    gone = execution("b", status, 0, tasks=(task("s"),), parent_task="t1", gone=True, state=EngineState.GONE)
    said = rejected(tree(errored("root", -1, task("t1")), gone), "t1.s").message
    assert "t1: its execution b is gone from its engine, and can only be started anew (S7)" in said


@pytest.mark.parametrize("gone", [False, True])
def test_X2_a_superseded_record_is_never_re_run(gone: bool) -> None:
    old = tree(errored("a", -1, task("t1"), superseded_by="b", gone=gone))
    with pytest.raises(Rejected, match="superseded by b"):
        check_rerun_whole(old, 0)
    assert rejected(old, "t1").rule == "X2"


def test_X2_the_named_execution_and_its_ancestors_are_re_opened_and_no_other() -> None:
    snapshot = tree(*nested().nodes, errored("beside", 0, task("x"), parent_task="t2"))
    effect = rerun_effect(snapshot, select(snapshot, 2, ["d1"], "re-run"), (), FACTS)
    assert effect.reopened == (0, 1, 2)
    assert effect.wants == dict.fromkeys((0, 1, 2), Want.RUN)
    assert effect.rerun == {2: (TaskRerun("d1"),)}


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ERRORED}))
def test_X3_the_execution_must_be_errored(status: Status) -> None:
    error = rejected(tree(execution("a", status, tasks=(task("t1"),))), "t1")
    assert (error.rule, error.reason) == ("X3", f"is_{status}")


@pytest.mark.parametrize("status", sorted(set(TaskStatus) - {TaskStatus.ERRORED}))
def test_X3_every_named_task_must_be_errored(status: TaskStatus) -> None:
    error = rejected(tree(errored("a", -1, task("t1", status))), "t1")
    assert (error.rule, error.reason) == ("X3", "wrong_tasks")
    assert f"t1: is {status}" in error.message


def test_X3_one_message_lists_every_name_that_is_wrong() -> None:
    message = rejected(nested(), "t2", "fine", "nope", "t1.s2", "t1.s1.zip").message
    for part in ("fine: is succeeded", "nope: no such task", "t1.s2: is succeeded", "t1.s1.zip: no such task"):
        assert part in message
    assert "t2:" not in message


def test_X4_names_are_deduplicated_and_their_order_does_not_matter() -> None:
    assert chosen(nested(), "t2", "t1.s1", "t2") == [(0, "t2"), (1, "s1")]
    one, two = (
        rerun_effect(nested(), select(nested(), 0, order, "re-run"), (), FACTS)
        for order in (["t2", "t1.s1"], ["t1.s1", "t2"])
    )
    assert one == two


@pytest.mark.parametrize("inside", ["t1.s1", "t1.s1.d1"])
def test_X4_a_name_together_with_one_inside_it_is_rejected(inside: str) -> None:
    for order in (("t1", inside), (inside, "t1")):
        error = rejected(nested(), *order)
        assert (error.rule, error.reason) == ("X4", "nested_tasks")
        assert f"{inside}: lies inside t1" in error.message


def test_X4_a_task_that_ran_several_times_means_all_its_errored_runs() -> None:
    runs = (task("t", id="r1"), task("t", OK, id="r2"), task("t", id="r3"))
    assert chosen(tree(errored("a", -1, *runs)), "t") == [(0, "r1"), (0, "r3")]


def test_X5_a_dotted_name_reaches_into_children_to_any_depth() -> None:
    assert chosen(nested(), "t1") == [(0, "t1")]
    assert chosen(nested(), "t1.s1") == [(1, "s1")]
    assert chosen(nested(), "t1.s1.d1") == [(2, "d1")]
    assert chosen(nested(), "s1.d1", place=1) == [(2, "d1")]


def test_X5_a_name_is_matched_whole_before_it_is_split() -> None:
    snapshot = tree(
        errored("a", -1, task("t1"), task("t1.s1")), errored("b", 0, task("s1"), task("x"), parent_task="t1")
    )
    assert chosen(snapshot, "t1.s1") == [(0, "t1.s1")]
    assert chosen(snapshot, "t1.x") == [(1, "x")]


def test_X5_the_longest_head_that_has_children_is_taken() -> None:
    snapshot = tree(
        errored("a", -1, task("t"), task("t.u")),
        errored("b", 0, task("u.v"), parent_task="t"),
        errored("c", 0, task("v"), parent_task="t.u"),
    )
    assert chosen(snapshot, "t.u.v") == [(2, "v")]


def test_X5_an_item_named_alone_is_told_how_items_are_chosen() -> None:
    snapshot = tree(
        errored("root", -1, task("sub"), task("one")),
        errored("sub", 0, task("each", items=2), task("acts", items=2), parent_task="sub"),
        *(
            errored(f"c{item}", 1, task("a"), task("b"), task("c", OK), parent_task="each", item=item)
            for item in range(2)
        ),
    )
    message = rejected(snapshot, "sub.each[1]").message
    assert "sub.each[1]: one item is not run again or skipped alone in execution sub" in message
    assert "without [1] the whole task is meant" in message
    assert message.endswith("behind [1] and a dot may stand what failed in that item: a, b")
    assert rejected(snapshot, "sub.acts[0]").message.endswith("runs only the failed items")
    assert "one[0]: one has no items in execution root" in rejected(snapshot, "one[0]").message
    assert "ach[1]: no such task" in rejected(snapshot, "sub.ach[1]").message


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ERRORED}))
def test_X5_every_execution_on_the_way_must_be_errored(status: Status) -> None:
    snapshot = tree(errored("a", -1, task("t1")), execution("b", status, 0, parent_task="t1", tasks=(task("s"),)))
    assert f"t1: its execution b is {status}, not errored" in rejected(snapshot, "t1.s").message


def _items() -> Snapshot:
    kids = [errored(f"i{item}", 0, task("s"), parent_task="t1", item=item) for item in range(3)]
    kids[1] = execution("i1", Status.SUCCEEDED, 0, parent_task="t1", item=1, tasks=(task("s", OK),))
    return tree(errored("root", -1, task("t1", items=3)), *kids)


def test_X5_of_several_children_those_are_meant_in_which_the_task_is_errored() -> None:
    assert chosen(_items(), "t1.s") == [(1, "s"), (3, "s")]


def test_X3_a_wrong_name_is_not_buried_under_the_items_that_are_not_errored() -> None:
    error = rejected(_items(), "t1.z")
    assert error.rows == tuple(f"t1.z: no such task in execution i{item}; there is: s" for item in (0, 2))
    one_left = tree(*_items().nodes[:3])
    assert rejected(one_left, "t1.z").rows == ("t1.z: no such task in execution i0; there is: s",)
    deep = [errored(f"h{item}", 0, task("each"), parent_task="hosts", item=item) for item in range(2)]
    fine = execution("fine", Status.SUCCEEDED, 1, parent_task="each", tasks=(task("first", OK),))
    failed = errored("failed", 2, task("first"), parent_task="each")
    hosts = tree(errored("root", -1, task("hosts", items=2)), *deep, fine, failed)
    assert chosen(hosts, "hosts.each.first") == [(4, "first")]
    lost = rejected(hosts, "hosts.each.fist", "hosts.each.secnd")
    assert lost.rows == tuple(
        f"hosts.each.{name}: no such task in execution failed; there is: first" for name in ("fist", "secnd")
    )


def test_X3_two_wrong_names_do_not_say_the_same_twice() -> None:
    fine = tree(*(_items().nodes[place] for place in (0, 2)))
    assert rejected(fine, "t1.s", "t1.z").rows == ("t1: its execution i1 is succeeded, not errored",)


def test_X5_an_index_means_one_item() -> None:
    assert chosen(_items(), "t1[2].s") == [(3, "s")]
    assert "t1[1]: its execution i1 is succeeded" in rejected(_items(), "t1[1].s").message
    assert "t1[7]: no such item in execution root; there are: 0, 1, 2" in rejected(_items(), "t1[7].s").message


def test_a_path_leads_to_a_child_or_to_a_task_without_one() -> None:
    assert at_path(nested(), 0, "") == (0, "")
    assert at_path(nested(), 0, "t1") == (1, "")
    assert at_path(nested(), 0, "t1.s1") == (2, "")
    assert at_path(nested(), 0, "t2") == (0, nested().nodes[0].tasks[1].id)
    assert at_path(nested(), 0, "t1.s1.d1") == (2, nested().nodes[2].tasks[0].id)


def test_a_path_to_a_task_with_items_leads_to_the_task_and_with_an_index_to_one_child() -> None:
    assert at_path(_items(), 0, "t1") == (0, _items().nodes[0].tasks[0].id)
    assert at_path(_items(), 0, "t1[2]") == (3, "")
    assert at_path(_items(), 0, "t1[0].s") == (1, _items().nodes[1].tasks[0].id)
    with pytest.raises(InvalidInput, match=r"t1: has several items .* name one of: t1\[0\], t1\[1\], t1\[2\]"):
        at_path(_items(), 0, "t1.s")
    only = tree(errored("root", -1, task("t1", items=1)), errored("i0", 0, task("s"), parent_task="t1", item=0))
    assert at_path(only, 0, "t1.s") == (1, only.nodes[1].tasks[0].id)
    assert at_path(only, 0, "t1") == (0, only.nodes[0].tasks[0].id)  # as it would be with two


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("t1[7].s", "t1[7]: no such item in execution root; there are: 0, 1, 2"),
        ("t1[7]", "t1[7]: no such item in execution root; there are: 0, 1, 2"),
        ("t1[1].x", "x: no such task in execution i1; there is: s"),
        ("t1[1].s.x", "s: has no child execution in execution i1, so x is not there"),
        ("t1[1].s[0]", "s[0]: s has no items in execution i1; name it without [0]"),
        ("t1[1].s[x]", "s[x]: s has no items in execution i1; name it without [x]"),
        ("t1[1].s[0].x", "s[0]: s has no items in execution i1; name it without [0]"),
        ("t1[x]", "t1[x]: [x] is no item of t1 in execution root; write t1[N], with N one of: 0, 1, 2"),
        ("t1[-1].s", "t1[-1]: [-1] is no item of t1 in execution root; write t1[N], with N one of: 0, 1, 2"),
        ("t1[]", "t1[]: [] is no item of t1 in execution root; write t1[N], with N one of: 0, 1, 2"),
        ("t1[1.5]", "t1[1.5]: [1.5] is no item of t1 in execution root; write t1[N], with N one of: 0, 1, 2"),
        ("t1[0", "t1[0: [0 is no item of t1 in execution root; write t1[N], with N one of: 0, 1, 2"),
        ("t1[0]s", "t1[0]s: a dot is missing between t1[0] and s in execution root"),
        ("x.s", "x.s: no such task in execution root; there is: t1"),
        ("x[0]", "x[0]: no such task in execution root; there is: t1"),
    ],
)
def test_a_path_that_leads_nowhere_is_told_in_the_words_of_a_re_run(path: str, words: str) -> None:
    with pytest.raises(NotFound) as caught:
        at_path(_items(), 0, path)
    assert caught.value.message == words


def test_a_path_to_one_item_of_a_task_whose_items_are_actions_is_told_to_name_the_task() -> None:
    acts = tree(errored("root", -1, task("acts", items=2)))
    with pytest.raises(NotFound) as caught:
        at_path(acts, 0, "acts[0]")
    words = "acts[0]: acts has no child executions for its items in execution root; name it without [0]"
    assert caught.value.message == words


class _Counted(tuple[Node, ...]):
    """Nodes that count how often one of them is taken."""

    __slots__ = ()
    taken: ClassVar[int] = 0

    def __getitem__(self, place: Any) -> Any:
        type(self).taken += 1
        return super().__getitem__(place)


def test_X5_twice_as_many_names_cost_twice_as_much() -> None:
    def taken(items: int) -> int:
        below = [errored(f"c{at}", 0, task("c"), parent_task="t", item=at) for at in range(items)]
        snapshot = tree(errored("root", -1, task("t", items=items)), *below)
        counted = Snapshot(_Counted(snapshot.nodes))
        _Counted.taken = 0
        assert len(chosen(counted, *(f"t[{at}].c" for at in range(items)))) == items
        return _Counted.taken

    assert taken(200) <= 2 * taken(100)


def test_X5_at_least_one_of_several_must_be_errored() -> None:
    assert "u: no such task" in rejected(_items(), "t1.u").message


def test_X5_what_is_wrong_below_several_children_is_told_with_the_whole_name_each_time() -> None:
    snapshot = tree(
        errored("root", -1, task("t")),
        errored("sub", 0, task("t", items=2), parent_task="t"),
        errored("i0", 1, task("s"), parent_task="t", item=0),
        errored("i1", 1, task("s"), parent_task="t", item=1),
    )
    assert list(rejected(snapshot, "t.t.nope").rows) == [
        "t.t.nope: no such task in execution i0; there is: s",
        "t.t.nope: no such task in execution i1; there is: s",
    ]


def test_X5_where_a_re_run_left_several_children_of_one_item_the_latest_is_meant() -> None:
    snapshot = tree(
        *_items().nodes,
        errored("again", 0, task("s"), parent_task="t1", item=0),
    )
    assert chosen(snapshot, "t1[0].s") == [(4, "s")]
    assert sorted(chosen(snapshot, "t1.s")) == [(3, "s"), (4, "s")]
    plain = tree(
        errored("root", -1, task("t")),
        errored("old", 0, task("s"), parent_task="t"),
        execution("new", Status.SUCCEEDED, 0, parent_task="t", tasks=(task("s", OK),)),
    )
    assert "execution new is succeeded" in rejected(plain, "t.s").message


def test_X5_an_unknown_name_says_which_segment_failed_and_what_there_is() -> None:
    assert "nope: no such task in execution root; there is: t1, t2, fine" in rejected(nested(), "nope").message
    assert "t1.nope: no such task in execution sub; there is: s1, s2" in rejected(nested(), "t1.nope").message
    assert "t2: has no child execution in execution root, so x is not there" in rejected(nested(), "t2.x").message
    assert "there is: no task" in rejected(tree(errored("a")), "t").message


@pytest.mark.parametrize("name", [".", "t1.", ".t1", "", "t1..s1", "[0]", "t1[0]"])
def test_X5_a_name_with_an_empty_part_is_an_unknown_name(name: str) -> None:
    assert rejected(nested(), name).reason == "wrong_tasks"


def test_X6_no_reset_must_be_a_subset_of_the_tasks_and_name_tasks_with_items() -> None:
    snapshot = tree(errored("a", -1, task("t1", items=3), task("t2")))
    found = select(snapshot, 0, ["t1", "t2"], "re-run")
    assert names(partial(found, ["t1"], ["t1", "t2"])) == [(0, "t1")]
    with pytest.raises(Rejected) as caught:
        partial(found, ["t2", "t3"], ["t1", "t2"])
    assert (caught.value.rule, caught.value.reason) == ("X6", "wrong_no_reset")
    assert "t3: --no-reset names a task that --tasks does not" in caught.value.message
    assert "t2: has no items" in caught.value.message


def test_X6_all_items_by_default_only_the_failed_ones_of_a_task_in_no_reset() -> None:
    snapshot = tree(errored("a", -1, task("t1", items=3), task("t2", items=2)))
    found = select(snapshot, 0, ["t1", "t2"], "re-run")
    assert rerun_effect(snapshot, found, ["t1"], FACTS).rerun == {0: (TaskRerun("t1", reset=False), TaskRerun("t2"))}


def _read(shape: str) -> tuple[ItemRead, ...]:
    words = {"S": OK, "E": TaskStatus.ERRORED, "C": TaskStatus.CANCELED}
    return tuple(ItemRead(index, words[letter]) for index, letter in enumerate(shape))


@pytest.mark.parametrize(
    ("shape", "items", "serial", "safe"),
    [
        ("SSE", 3, False, True),
        ("ESE", 3, False, True),
        ("SSC", 3, False, True),
        ("SES", 3, False, False),
        ("ESS", 3, False, False),
        ("SES", 3, True, True),  # concurrency 1
        ("SE", 3, False, True),  # the last never ran
        ("SS", 3, False, True),
        ("ES", 3, False, False),
        ("", 3, False, True),  # none ever ran
        (None, 3, False, False),  # their places cannot be told
        (None, 3, True, True),
    ],
)
def test_X6_refused_where_the_engine_would_run_succeeded_items_again(
    shape: str | None, items: int, serial: bool, safe: bool
) -> None:
    snapshot = tree(errored("a", -1, task("t", items=items, serial=serial), engine="eager"))
    found = select(snapshot, 0, ["t"], "re-run")
    read = {(0, "t"): None if shape is None else _read(shape)}
    check_partial(snapshot, found, read, FACTS, frozenset({"X6"}))
    if safe:
        check_partial(snapshot, found, read, FACTS, frozenset())
        return
    with pytest.raises(Rejected) as caught:
        check_partial(snapshot, found, read, FACTS, frozenset())
    assert (caught.value.rule, caught.value.accept) == ("X6", "X6")
    assert caught.value.message.endswith("--accept X6. Write it otherwise."), "what would keep the rule is told too"
    why = "which item failed cannot be told from their results" if shape is None else "behind the last failed one"
    assert why in caught.value.message


def test_X6_items_that_are_sub_workflows_have_a_remedy_of_their_own() -> None:
    snapshot = tree(errored("a", -1, task("t", items=3), engine="eager"), errored("b", 0, engine="eager"))
    sub = replace(snapshot.nodes[1], record=replace(snapshot.nodes[1].record, parent_task="t", item=1))
    snapshot = Snapshot((snapshot.nodes[0], sub))
    with pytest.raises(Rejected, match=r"--accept X6\. Set it up otherwise\.$"):
        check_partial(snapshot, select(snapshot, 0, ["t"], "re-run"), {(0, "t"): _read("SES")}, FACTS, frozenset())


def test_X6_an_engine_that_can_is_never_refused() -> None:
    snapshot = tree(errored("a", -1, task("t", items=3)))
    check_partial(snapshot, select(snapshot, 0, ["t"], "re-run"), {(0, "t"): _read("ESS")}, FACTS, frozenset())


def _linked() -> Snapshot:
    return tree(
        errored("root", -1, task("t1"), engine="eager"),
        errored("sub", 0, task("s"), engine="plain", native=False, key="k", parent_task="t1"),
    )


def test_X7_the_dotted_name_crosses_engines_and_says_so_where_nothing_can_re_open_the_parent() -> None:
    found = select(_linked(), 0, ["t1.s"], "re-run")
    assert names(found) == [(1, "s")]
    with pytest.raises(Unsupported, match="execution root above it"):
        rerun_effect(_linked(), found, (), FACTS)


class _Walked(list[int]):
    """The children of a task, counting how often somebody goes through them or looks for one of them."""

    walks = 0

    def __iter__(self) -> Iterator[int]:
        _Walked.walks += 1
        return super().__iter__()

    def __contains__(self, place: object) -> bool:
        _Walked.walks += 1
        return super().__contains__(place)


def _walks(monkeypatch: pytest.MonkeyPatch, items: int) -> int:
    """How often the children of a task are gone through to re-open so many of them, which live elsewhere."""
    facts = {**FACTS, "host": replace(FACTS["plain"], hosts_children=True)}
    children = [
        errored(f"c{item}", 0, task("s"), parent_task="t", item=item, native=False, key=str(item))
        for item in range(items)
    ]
    snapshot = tree(errored("root", -1, task("t", items=items), engine="host"), *children)
    found = select(snapshot, 0, ["t.s"], "re-run")
    whole = reopening.children_by_task
    monkeypatch.setattr(
        reopening, "children_by_task", lambda given: {above: _Walked(of) for above, of in whole(given).items()}
    )
    _Walked.walks = 0
    assert len(rerun_effect(snapshot, found, (), facts).awaited) == items
    monkeypatch.undo()
    return _Walked.walks


def test_X7_a_task_is_gone_through_as_often_however_many_of_its_children_are_re_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _walks(monkeypatch, 20) == _walks(monkeypatch, 2) > 0


def test_X6_whether_children_live_elsewhere_is_told_from_one_reading_of_the_tree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = [f"t{number}" for number in range(9)]
    snapshot = tree(
        errored("root", -1, *(task(name, items=1) for name in names)),
        *(errored(f"of {name}", 0, parent_task=name, item=0, native=False, key=name) for name in names),
    )
    found = select(snapshot, 0, names, "re-run")
    asked: list[Snapshot] = []
    whole = reopening.children_by_task

    def read(given: Snapshot) -> Mapping[tuple[int, str], list[int]]:
        asked.append(given)
        return whole(given)

    monkeypatch.setattr(reopening, "children_by_task", read)
    monkeypatch.setattr(selection, "children_by_task", read)
    assert check_partial(snapshot, found, {}, FACTS, frozenset()) == ()
    rerun_effect(snapshot, found, names, FACTS)
    assert len(asked) == 3  # to check the items, to keep the good ones, to re-open


@pytest.mark.parametrize("verb", ["re-run", "skip"])
def test_O10_an_engine_without_the_verb_is_unsupported(verb: str) -> None:
    snapshot = tree(errored("a", -1, task("t"), engine="bare"))
    found = select(snapshot, 0, ["t"], verb)
    with pytest.raises(Unsupported, match=f"{verb} of execution a is unsupported"):
        _effect(verb, snapshot, found)


def _effect(verb: str, snapshot: Snapshot, found: Sequence[Chosen]) -> object:
    return skip_effect(snapshot, found, FACTS) if verb == "skip" else rerun_effect(snapshot, found, (), FACTS)


def test_O10_an_empty_selection_changes_nothing() -> None:
    assert select(nested(), 0, [], "re-run") == ()
    assert rerun_effect(nested(), (), (), FACTS).wants == {}


def test_X8_by_the_childs_own_id_it_means_the_same_as_by_the_dotted_name() -> None:
    by_name = rerun_effect(nested(), select(nested(), 0, ["t1.s1.d1"], "re-run"), (), FACTS)
    by_id = rerun_effect(nested(), select(nested(), 2, ["d1"], "re-run"), (), FACTS)
    assert by_name == by_id


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ERRORED}))
def test_X8_rejected_where_an_ancestor_is_not_errored(status: Status) -> None:
    snapshot = tree(execution("root", status), errored("m", 0, task("t"), parent_task="a"), errored("c", 1, task("s")))
    error = rejected(snapshot, "s", place=2)
    assert (error.rule, error.reason) == ("X8", "ancestor_not_errored")
    assert f"execution root above it is {status}" in error.message
    assert ("handled the error" in error.message) is (status == "succeeded")


@pytest.mark.parametrize("verb", ["re-run", "skip"])
def test_X8_by_its_own_id_a_child_that_a_newer_one_took_over_from_is_not_meant_either(verb: str) -> None:
    snapshot = tree(
        errored("root", -1, task("t")),
        errored("old", 0, task("s"), parent_task="t"),
        errored("new", 0, task("s"), parent_task="t"),
    )
    assert chosen(snapshot, "t.s") == [(2, "s")]
    with pytest.raises(Rejected, match="the task above it has a newer child, new") as caught:
        _effect(verb, snapshot, select(snapshot, 1, ["s"], verb))
    assert (caught.value.rule, caught.value.execution) == ("X8", "old")


def test_K1_a_skip_names_tasks_as_a_re_run_does() -> None:
    found = select(nested(), 0, ["t1.s1", "t2"], "skip")
    effect = skip_effect(nested(), found, FACTS)
    assert effect.skip == {1: ("s1",), 0: ("t2",)}
    assert effect.reopened == (0, 1)
    assert effect.rerun == {}


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.ERRORED}))
def test_K1_only_of_an_errored_execution(status: Status) -> None:
    with pytest.raises(Rejected) as caught:
        select(tree(execution("a", status, tasks=(task("t"),))), 0, ["t"], "skip")
    assert caught.value.rule == "K1"
