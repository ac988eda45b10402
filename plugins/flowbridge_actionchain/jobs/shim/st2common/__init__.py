"""The few modules of StackStorm that scripts in packs import, so that they run without a StackStorm.

Only `flowbridge_actionchain.jobs.wrapper` puts them where a script finds them.
"""
