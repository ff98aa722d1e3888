"""What the benchmark room's tests share."""

from own_parts import own_file  # noqa: F401
from small_benchmarks import market, msmt17  # noqa: F401
