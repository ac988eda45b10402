"""The conformance kit: the rules of the law as tests that any backend can be held to.

A backend's author writes a `Harness` and one test module::

    from flowbridge.conformance.suite import *

    @pytest.fixture(scope="module")
    def harness(): ...

and runs pytest with `-p flowbridge.conformance.plugin`. Capabilities gate the rules; every wait has a bound; no task
sleeps, each waits for the test to release it. The run ends with a matrix of rules: done by the engine itself, done by
the bridge, or refused, and why.
"""

from flowbridge.conformance.harness import Harness
from flowbridge.conformance.shapes import Flow, Shape, Step

__all__ = ["Flow", "Harness", "Shape", "Step"]
