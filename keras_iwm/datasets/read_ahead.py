"""Work that threads do ahead of who needs it, and not too far."""

import collections


def read_ahead(threads, function, items, count):
    """Yields `function(item)` for each item, in order.

    Args:
        threads: `concurrent.futures.Executor`.
        function: Function of one item, called in the threads.
        items: Iterable.
        count: Positive integer, how many results are held besides the one in use.
    """
    waiting = collections.deque()
    for item in items:
        waiting.append(threads.submit(function, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
