"""How ``w`` reaches the workers and messages come back."""

from dask_gradcode.cluster.transport.base import Transport
from dask_gradcode.cluster.transport.exchange import ExchangeTransport
from dask_gradcode.cluster.transport.stream import StreamTransport
from dask_gradcode.cluster.transport.tasks import TaskTransport

__all__ = ["ExchangeTransport", "StreamTransport", "TaskTransport", "Transport"]
