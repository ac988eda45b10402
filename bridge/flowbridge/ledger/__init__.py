"""The ledger: what the bridge writes down. SQLite; one file for each user.

`database` opens the file and owns transactions; `schema` holds its versions; `executions`, `operations`, `leases`
and `rows` each keep one kind of thing; `codec` turns the model into JSON and back.
"""
