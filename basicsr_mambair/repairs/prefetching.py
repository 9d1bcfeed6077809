"""Repairs of ``prefetch_mode: cpu``."""

from __future__ import annotations

from typing import Any

from basicsr_mambair.repairs.repair import repair, replace, source_has


@repair(
    "an error in a worker of `prefetch_mode: cpu` is lost and training waits forever",
    thread="basicsr/data/prefetch_dataloader.py, PrefetchGenerator.run",
)
def prefetch_errors() -> bool:
    """Hands an exception of the prefetching thread to the trainer."""
    from basicsr.data.prefetch_dataloader import PrefetchGenerator

    if source_has(PrefetchGenerator.run, "except"):
        return False
    original_next = PrefetchGenerator.__next__

    def run(self: Any) -> None:
        try:
            for item in self.generator:
                self.queue.put(item)
        except BaseException as error:  # not swallowed: raised again in the trainer's thread
            self.error = error
        self.queue.put(None)

    def __next__(self: Any) -> Any:
        try:
            return original_next(self)
        except StopIteration:
            if getattr(self, "error", None) is not None:
                raise self.error from None
            raise

    replace(PrefetchGenerator, "run", run)
    replace(PrefetchGenerator, "__next__", __next__)
    return True
