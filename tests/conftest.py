"""How hypothesis runs: time limits are no judgement on a shared machine, and CI repeats itself."""

import os

from hypothesis import settings

settings.register_profile("developer", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "developer")
