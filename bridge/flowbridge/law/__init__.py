"""The law: pure functions over a snapshot. No I/O, no clock, no engine.

`tables` holds every transition and which verb is allowed when; `fold` judges statuses (S) and what was changed
from outside (P7, O12); `verbs` checks a verb and gives its effect (P, R, C); `selection` finds the tasks that a
re-run or a skip names (X, K); `decide` turns what is wanted into steps (O1).
"""
