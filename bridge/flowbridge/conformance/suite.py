"""Every rule, to be imported whole by a backend's test module: `from flowbridge.conformance.suite import *`."""

from flowbridge.conformance.rules_cancel import *  # noqa: F403
from flowbridge.conformance.rules_contract import *  # noqa: F403
from flowbridge.conformance.rules_every import *  # noqa: F403
from flowbridge.conformance.rules_facts import *  # noqa: F403
from flowbridge.conformance.rules_pause import *  # noqa: F403
from flowbridge.conformance.rules_rerun import *  # noqa: F403
from flowbridge.conformance.rules_resume import *  # noqa: F403
from flowbridge.conformance.rules_status import *  # noqa: F403
