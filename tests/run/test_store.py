"""The store of runs, where several open it at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from aiflow_ext.run.store.store import Store


def test_a_store_that_several_make_at_once_is_made_and_opened_by_each(tmp_path):
    together = threading.Barrier(4)

    def opened(folder):
        together.wait()
        store = Store(folder)
        try:
            return store.runs()
        finally:
            store.close()

    with ThreadPoolExecutor(4) as pool:
        for number in range(50):
            assert list(pool.map(opened, [tmp_path / str(number)] * 4)) == [[]] * 4
