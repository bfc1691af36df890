"""
`/metrics`: what the workers counted, as Prometheus reads it. Imported when first asked for: the library takes a while.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from compiler.serve.metrics import (
    BATCH,
    BATCHES,
    BEGUN,
    DURATIONS,
    ELAPSED,
    ENDPOINTS,
    FAILED,
    HUNG,
    MORE,
    OTHER,
    RELOADED,
    REPLACED,
    STATUSES,
    WAITING,
    Table,
)


class Identity(NamedTuple):
    """
    Which model answers.
    """

    model: str
    sha256: str
    """Of the model file."""
    version: str
    """Of policyc, when it was built."""
    source_sha256: str
    """Of the checkpoint."""


def exposition(table: Table, models: Sequence[Identity], accept: str) -> tuple[bytes, str]:
    """
    The metrics in the text format of Prometheus, or of OpenMetrics where the header `Accept` asks for it; and its type.

    Args:
        table: what was counted.
        models: all of them, in the table's order.
        accept: the request's header.
    """
    encode, content_type = choose_encoder(accept)
    return encode(Collected(table, models)), content_type


class Collected(Collector):
    """
    All metrics as they are now.
    """

    def __init__(self, table: Table, models: Sequence[Identity]) -> None:
        self._table, self._models = table, models

    def collect(self) -> Iterator[Metric]:
        """
        The families of metrics, for the library's encoders.
        """
        cells, names = self._table.totals(), [identity.model for identity in self._models]
        yield from _requests(self._table, names, cells)
        yield from _predictions(self._table, names, cells)
        info = GaugeMetricFamily("policyc_model_info", "The models that answer.", labels=Identity._fields)
        for identity in self._models:
            info.add_metric(identity, 1)
        yield info
        yield CounterMetricFamily("policyc_workers_replaced", "Workers that died and were replaced.", cells[REPLACED])
        yield CounterMetricFamily("policyc_workers_hung", "Those that were killed since they hung.", cells[HUNG])
        yield from _processes(self._table.pids)


def _requests(table: Table, names: Sequence[str], cells: list[int]) -> Iterator[Metric]:
    labels = ["model", "endpoint"]
    requests = CounterMetricFamily("policyc_requests", "Requests that were answered.", labels=[*labels, "code"])
    failures = CounterMetricFamily("policyc_request_failures", "Those with a status from 400 on.", labels=labels)
    durations = HistogramMetricFamily(
        "policyc_request_duration_seconds", "From the head of a request to its answer.", labels=labels
    )
    kinds = [(model, endpoint) for model in range(len(names)) for endpoint in ENDPOINTS]
    places = {(names[model], endpoint): table.requests(model, endpoint) for model, endpoint in kinds}
    for kind, begin in {**places, ("", "other"): OTHER}.items():
        statuses = cells[begin : begin + STATUSES]
        for status, count in enumerate(statuses):
            if count:
                requests.add_metric([*kind, str(status)], count)
        failures.add_metric(kind, sum(statuses[400:]))
        counts = cells[begin + STATUSES : begin + ELAPSED]
        bounds = [bound / 1e9 for bound in DURATIONS]
        durations.add_metric(kind, _buckets(bounds, counts), cells[begin + ELAPSED] / 1e9)
    yield from (requests, failures, durations)
    # Rows are read while others write to them, a request's beginning before its end.
    in_flight = max(0, cells[BEGUN] - table.answered(cells))
    yield GaugeMetricFamily("policyc_requests_in_flight", "Requests that are not yet answered.", in_flight)
    yield GaugeMetricFamily("policyc_requests_waiting", "Those that wait to be computed.", cells[WAITING])


def _predictions(table: Table, names: Sequence[str], cells: list[int]) -> Iterator[Metric]:
    observations = CounterMetricFamily("policyc_observations", "Observations that were computed.", labels=["model"])
    batches = HistogramMetricFamily("policyc_batch_size", "Observations that were computed together.", labels=["model"])
    reloads = CounterMetricFamily(
        "policyc_model_reloads", "Changed folders that workers loaded, or could not.", labels=["model", "result"]
    )
    for name, begin in zip(names, table.models, strict=True):
        computed = cells[begin + BATCH] + cells[begin + MORE]
        observations.add_metric([name], computed)
        batches.add_metric([name], _buckets(BATCHES, cells[begin + BATCH : begin + MORE]), computed)
        reloads.add_metric([name, "ok"], cells[begin + RELOADED])
        reloads.add_metric([name, "failed"], cells[begin + FAILED])
    yield from (observations, batches, reloads)


def _buckets(bounds: Sequence[float], counts: list[int]) -> list[tuple[str, float]]:
    """
    Each upper bound with the number of all values up to it.
    """
    return list(zip([*map(floatToGoString, bounds), "+Inf"], accumulate(counts), strict=True))


def _processes(pids: Iterable[int]) -> Iterator[Metric]:
    """
    What the library says about one process, for each worker: nothing where the system has no /proc.
    """
    families: dict[str, Metric] = {}
    for worker, pid in enumerate(pids, 1):
        for found in ProcessCollector(pid=partial(int, pid), registry=None).collect() if pid else ():
            family = families.setdefault(found.name, Metric(found.name, found.documentation, found.type))
            for sample in found.samples:
                family.add_sample(sample.name, {**sample.labels, "worker": str(worker)}, sample.value)
    yield from families.values()
