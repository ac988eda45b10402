"""Where an item stands (X6): told from results and indexes, or not told at all."""

from __future__ import annotations

import json
from typing import Any

from flowbridge.model import ItemRead, TaskStatus
from flowbridge_mistral.reading import by_index, by_output

Json = dict[str, Any]
S, E, R, C = TaskStatus.SUCCEEDED, TaskStatus.ERRORED, TaskStatus.RUNNING, TaskStatus.CANCELED


def action(state: str, result: Any = None, accepted: bool = True) -> Json:
    output = json.dumps({"result": result}) if state in ("SUCCESS", "ERROR", "CANCELLED") else None
    return {"id": "a", "state": state, "output": output, "accepted": accepted}


def child(index: int, state: str, created: str = "2026-01-01 00:00:00", output: Any = None) -> Json:
    return {
        "id": f"{index}{state}",
        "params": json.dumps({"index": index}),
        "state": state,
        "output": json.dumps(output or {}),
        "created_at": created,
    }


def test_ended_items_stand_where_their_results_do() -> None:
    actions = [action("ERROR", "b"), action("SUCCESS", {"k": 1}), action("CANCELLED")]
    assert by_output(actions, [{"k": 1}, "b", None], 3) == (
        ItemRead(0, S, {"k": 1}),
        ItemRead(1, E, "b", "b"),
        ItemRead(2, C, None),
    )


def test_equal_results_that_ended_alike_are_no_riddle() -> None:
    actions = [action("SUCCESS", 1), action("ERROR", 2), action("SUCCESS", 1)]
    items = by_output(actions, [1, 2, 1], 3)
    assert items is not None
    assert [item.status for item in items] == [S, E, S]


def test_equal_results_that_ended_differently_have_no_places() -> None:
    assert by_output([action("SUCCESS", 1), action("ERROR", 1)], [1, 1], 2) is None


def test_results_that_were_not_kept_have_places_only_where_all_ended_alike() -> None:
    gone = {"id": "a", "state": "SUCCESS", "output": "{}", "accepted": True}
    assert by_output([gone, gone], [None, None], 2) == (ItemRead(0, S), ItemRead(1, S))
    assert by_output([gone, gone | {"state": "ERROR"}], [None, None], 2) is None


def test_replaced_actions_do_not_count() -> None:
    actions = [action("SUCCESS", 1), action("ERROR", 2, accepted=False), action("SUCCESS", 3)]
    assert by_output(actions, [1, 3], 2) == (ItemRead(0, S, 1), ItemRead(1, S, 3))


def test_places_shift_while_some_items_run_so_none_is_told() -> None:
    actions = [action("SUCCESS", 1), action("RUNNING", accepted=False)]
    assert by_output(actions, [1], 2) is None


def test_items_that_all_run_have_places() -> None:
    actions = [action("RUNNING", accepted=False), action("RUNNING", accepted=False)]
    assert by_output(actions, [], 2) == (ItemRead(0, R), ItemRead(1, R))


def test_items_begin_in_order_so_those_that_did_stand_first() -> None:
    assert by_output([action("ERROR", 2), action("SUCCESS", 1)], [1, 2], 3) == (
        ItemRead(0, S, 1),
        ItemRead(1, E, 2, "2"),
    )


def test_items_that_never_ran_leave_the_places_untold_where_others_were_replaced_or_none_ran() -> None:
    assert by_output([action("ERROR", 1), action("ERROR", 2, accepted=False)], [1], 3) is None
    assert by_output([], [], 3) is None


def test_a_result_that_matches_no_action_is_not_guessed() -> None:
    assert by_output([action("SUCCESS", 1)], [2], 1) is None


def test_items_of_sub_workflows_stand_at_their_index_whatever_has_ended() -> None:
    children = [child(2, "ERROR", output={"result": "no"}), child(0, "RUNNING")]
    assert by_index(children) == (ItemRead(0, R, attempts=1), ItemRead(2, E, {"result": "no"}, "no", 1))


def test_of_several_children_of_an_item_the_latest_counts() -> None:
    older, newer = "2026-01-01 00:00:00", "2026-01-01 00:00:01"
    assert by_index([child(0, "SUCCESS", newer), child(0, "ERROR", older)])[0].status is S
    assert by_index([child(0, "RUNNING", older), child(0, "ERROR", older)])[0].status is R
