"""Predicting in one thread, whatever number of jobs a scikit-learn model was saved with.

A replica has one core's worth of work, and handing a row to a pool of threads costs more than predicting it (measured
for a forest of 100 trees, one row: 4 ms with one job, 12 ms with two). joblib's sequential backend wins over `n_jobs`,
for the calling thread and for the time of the call, and leaves the model as it is. It also makes sums of trees come out
the same every time: with several jobs their order depends on which is done first.
"""

from collections.abc import Callable
from typing import Any


def in_one_thread(predict: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`predict` without joblib's threads."""
    from joblib import parallel_backend  # noqa: PLC0415 - only scikit-learn's models bring it

    def alone(data: Any) -> Any:
        with parallel_backend("sequential"):
            return predict(data)

    return alone
