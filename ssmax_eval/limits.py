"""A bound on how long somebody else's code may take, such as the chat template of a checkpoint."""

import ctypes
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class TookTooLong(BaseException):
    """Raised inside code that has run for too long. No Exception, so that the code it stops does not catch it."""


def within(seconds: float, function: Callable[[], T]) -> T:
    """Return what the function returns. TimeoutError where it takes longer; its own errors are raised as they are.

    The function runs in a thread of its own, so this works in every thread and beside any signal handler. A function
    that is too slow is stopped at its next step in Python; a single step that never ends is left behind.
    """
    found: list[Any] = []
    failed: list[BaseException] = []

    def work() -> None:
        try:
            found.append(function())
        except BaseException as error:  # raised again below, in the thread that asked
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident or 0), ctypes.py_object(TookTooLong))
        thread.join(1.0)
        raise TimeoutError(f"it took longer than {seconds:g} seconds")
    if failed:
        raise failed[0]
    result: T = found[0]
    return result
