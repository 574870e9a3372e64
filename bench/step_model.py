"""A model of a training step over ranks, fitted to what `dtrain bench scaling` and `dtrain bench allreduce` measured.

A step of R ranks that compute T tokens each:

    seconds = share * (compute + optimizer + exposed exchange + exposed gather)

- share: 1 for ranks that have a core for each thread. Others wait for each other: threads of the node's ranks over its
  cores, times `crowding`, what they cost each other beside (1 where none were measured).
- compute = (start + T * seconds a token) * (1 + contention where R > 1) * (1 + jitter * largest of R). Start and
  seconds a token: least squares over the points whose ranks have cores of their own. Jitter: how much longer the
  slowest rank takes than the mean, over the largest of as many numbers drawn from a normal distribution (Blom, 1958).
- exchange: messages * 2 log2 R * latency + bytes * 2 (R-1) / R / bandwidth. Rabenseifner's all-reduce (2004), which
  dtrain has OpenMPI take; NCCL's double binary trees (Sanders, Speck and Traeff, 2009) have these terms too. A message
  is a bucket of dense gradients, of word embeddings on CPUs two (how many ranks have which row, and the rows that any
  rank's texts reach), and one for the loss. Of a sharded optimizer over links that reduce-scatter, half of the bytes,
  and R-1 latencies.
- gather: messages * (R-1) * latency + bytes * (R-1) / R / bandwidth, with the all-gather's own latency and bandwidth.
- optimizer = each + dealt / R, least squares. Dealt: what a sharded optimizer's ranks share out. The rest (word
  embeddings that only decay, norms) each does whole.
- exposed = all * (1 - overlap). Of the exchange no more is hidden than backward lasts, of the gather than forward.

Ranks that train a trial each exchange nothing, wait for nobody (no jitter) and share no optimizer; what they cost each
other is contention.

Overlap, as it was seen: what a link takes alone, less what was waited for, and less what compute took more beside
another rank. The latter counts because MPI moves data inside of calls, on the core that computes: that time is not
hidden, it is in compute. What compute takes more than the links do is contention (memory, caches), and goes with
compute.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

# Of a word embedding's count, and of the values that a sharded optimizer's ranks gather.
COUNT_BYTES = VALUE_BYTES = 4
# Classes of the embedded task, whose head trains with every method.
CLASSES = 45
BACKWARD, FORWARD = 2 / 3, 1 / 3  # of compute


@dataclass(frozen=True)
class Line:
    """Hockney's model (1994) of a collective's steps."""

    latency: float  # seconds of one
    bandwidth: float  # bytes/s that cross a rank's link


@dataclass(frozen=True)
class Link:
    """What ranks exchange over."""

    name: str
    reduce: Line
    gather: Line
    scatters: bool  # whether a reduce-scatter is one, and not an all-reduce as over MPI
    measured: bool = False

    def reduce_seconds(self, ranks: int, size: float, messages: float, shares: bool) -> float:
        """Of gradients that are summed to every rank, or to each its share."""
        if shares and self.scatters:
            return messages * (ranks - 1) * self.reduce.latency + size * (ranks - 1) / ranks / self.reduce.bandwidth
        steps = 2 * math.ceil(math.log2(ranks))
        return messages * steps * self.reduce.latency + 2 * size * (ranks - 1) / ranks / self.reduce.bandwidth

    def gather_seconds(self, ranks: int, size: float, messages: float) -> float:
        """Of values that each rank has a share of."""
        return messages * (ranks - 1) * self.gather.latency + size * (ranks - 1) / ranks / self.gather.bandwidth


def link_of(name: str, latency: float, bandwidth: float) -> Link:
    """One that NCCL's collectives go over."""
    line = Line(latency, bandwidth)
    return Link(name, line, line, True)


def measured_link(links: dict, name: str = "") -> Link:
    """That of `dtrain bench allreduce --json`."""
    ranks = links["ranks"]
    found = {each["collective"]: each for each in links["collectives"]}

    def line(collective: str, steps: int) -> Line:
        fit = found[collective]
        return Line(max(0.0, fit["latency_seconds"]) / steps, fit["bytes_per_second"] * fit["bus_share"])

    return Link(
        f"{name} (measured)" if name else f"measured ({links['back_end']}, {ranks} ranks)",
        line("all-reduce", 2 * math.ceil(math.log2(ranks))),
        line("all-gather", ranks - 1),
        links["back_end"] != "mpi",
        measured=True,
    )


@dataclass(frozen=True)
class Encoder:
    """The sizes of a BERT."""

    name: str
    layers: int
    hidden: int
    vocabulary: int = 30522
    positions: int = 512

    def matrices(self) -> int:
        """Parameters that every token is multiplied with."""
        return 12 * self.layers * self.hidden**2

    def table(self) -> int:
        """Word embeddings."""
        return self.vocabulary * self.hidden

    def dense(self, method: str) -> int:
        """Trained parameters that are no word embeddings: full's, or those of LoRA of rank 8 on query and value."""
        head = CLASSES * (self.hidden + 1)
        if method != "full":
            return 4 * 8 * self.hidden * self.layers + head
        return self.matrices() + 13 * self.layers * self.hidden + (self.positions + 4) * self.hidden + head


MINILM = Encoder("MiniLM-L6", 6, 384)


@dataclass(frozen=True)
class Work:
    """What a step exchanges and updates."""

    reduced: float  # bytes
    messages: float
    gathered: float  # bytes
    gather_messages: float
    parameters: float  # over those of the ranks that were measured


def messages_of(dense_bytes: float, bucket_bytes: float, tables: bool) -> int:
    """Collectives of a step's gradients, and the loss."""
    return math.ceil(dense_bytes / bucket_bytes) + (2 if tables else 0) + 1


def largest_of(ranks: int) -> float:
    """What the largest of so many standard normal numbers is expected to be (Blom, 1958)."""
    return statistics.NormalDist().inv_cdf((ranks - 0.375) / (ranks + 0.25))


def tokens_of_rank(point: dict) -> float:
    """Of a step."""
    return point["tokens_per_step"] / point["ranks"]


@dataclass(frozen=True)
class Rows:
    """Word embeddings that texts of so many tokens reach: Heaps' law (1978)."""

    factor: float = 0.0
    power: float = 1.0

    def reached(self, tokens: float, vocabulary: int) -> float:
        """Of the vocabulary."""
        return min(float(vocabulary), self.factor * tokens**self.power)


@dataclass(frozen=True)
class Machine:
    """What the points were measured on."""

    threads: int
    cores: int
    ranks_of_node: int
    bucket_bytes: float
    wire_bytes: int  # of a gradient

    def share(self, ranks: int) -> float:
        """How many threads share a core, where `ranks` of the node's compute."""
        return max(1.0, min(ranks, self.ranks_of_node) * self.threads / self.cores)


def machine_of(scaling: dict) -> Machine:
    """That of `dtrain bench scaling --json`."""
    wire = 2 if scaling["reduce_precision"] == "bf16" else 4
    return Machine(scaling["threads"], scaling["cores"], scaling["ranks_of_node"], scaling["bucket_bytes"], wire)


@dataclass(frozen=True)
class StepModel:
    """A method's step."""

    method: str
    machine: Machine
    start: float
    per_token: float
    contention: float
    jitter: float
    crowding: float
    overlap: float
    gather_overlap: float
    each: float
    dealt: float
    rows: Rows
    sharded: bool

    def mean_compute(self, tokens: float, ranks: int, encoder: Encoder = MINILM) -> float:
        """The mean rank's, alone on its cores."""
        flop = encoder.matrices() / MINILM.matrices()
        alone = self.start * encoder.layers / MINILM.layers + tokens * self.per_token * flop
        return alone * (1 + self.contention if ranks > 1 else 1)

    def compute(self, tokens: float, ranks: int, encoder: Encoder = MINILM) -> float:
        """The slowest rank's, alone on its cores."""
        return self.mean_compute(tokens, ranks, encoder) * (1 + self.jitter * largest_of(ranks))

    def work(self, encoder: Encoder, tokens: float, ranks: int, *, gpus: bool = False) -> Work:
        """Of another encoder. On GPUs the gradients of word embeddings travel whole, and nothing is sharded."""
        dense, wire, full = encoder.dense(self.method), self.machine.wire_bytes, self.method == "full"
        trained = dense + (encoder.table() if full else 0)
        measured = MINILM.dense(self.method) + (MINILM.table() if full else 0)
        table = rows = 0.0
        if full and gpus:
            dense = trained
        elif full:
            rows = self.rows.reached(tokens * ranks, encoder.vocabulary)
            table = COUNT_BYTES * encoder.vocabulary + wire * rows * encoder.hidden
        messages = messages_of(wire * dense, self.machine.bucket_bytes, full and not gpus)
        sharded = self.sharded and not gpus
        # The rows of every step so far are gathered, in the end all.
        gathered = VALUE_BYTES * trained if sharded else 0.0
        buckets = math.ceil(VALUE_BYTES * dense / self.machine.bucket_bytes)
        gather_messages = buckets + (2 if full else 0) if sharded else 0
        return Work(wire * dense + table, messages, gathered, gather_messages, trained / measured)

    def seconds(
        self,
        tokens: float,
        ranks: int,
        link: Link,
        work: Work,
        encoder: Encoder = MINILM,
        *,
        speedup: float = 1,
        gpus: bool = False,
    ) -> dict[str, float]:
        """The parts of a step of ranks that have cores of their own, `speedup` times as fast as those measured."""
        sharded = self.sharded and not gpus
        compute = self.compute(tokens, ranks, encoder) / speedup
        optimizer = work.parameters * (self.each + self.dealt / (ranks if sharded else 1)) / speedup
        exchange = gather = 0.0
        if ranks > 1:
            exchange = link.reduce_seconds(ranks, work.reduced, work.messages, sharded)
            gather = link.gather_seconds(ranks, work.gathered, work.gather_messages)
        # Only what lasts as long as backward, or forward, can hide behind it.
        exchange -= min(self.overlap * exchange, BACKWARD * compute)
        gather -= min(self.gather_overlap * gather, FORWARD * compute)
        return {"compute": compute, "exchange": exchange, "optimizer": optimizer, "gather": gather}

    def apart(
        self, tokens: float, ranks: int, work: Work, encoder: Encoder = MINILM, *, speedup: float = 1
    ) -> dict[str, float]:
        """The parts of a step of ranks that train each a trial of its own: none waits for another."""
        compute = self.mean_compute(tokens, ranks, encoder) / speedup
        optimizer = work.parameters * (self.each + self.dealt) / speedup
        return {"compute": compute, "exchange": 0.0, "optimizer": optimizer, "gather": 0.0}

    def hiding(self, share: float) -> StepModel:
        """The same where so much of the exchange, and of the gather, is hidden."""
        return replace(self, overlap=share, gather_overlap=share)


def work_of_point(point: dict, machine: Machine) -> Work:
    """What a measured step exchanged."""
    dense_bytes = machine.wire_bytes * point["dense_parameters"]
    tables = point["dense_parameters"] < point["trainable_parameters"]
    messages = messages_of(dense_bytes, machine.bucket_bytes, tables)
    buckets = math.ceil(VALUE_BYTES * point["dense_parameters"] / machine.bucket_bytes)
    gather_messages = buckets + (2 if tables else 0) if point["sharded_optimizer"] else 0
    return Work(point["reduced_bytes"], messages, point["gathered_bytes"], gather_messages, 1.0)


def rows_of(points: list[dict], machine: Machine) -> Rows:
    """Fitted to what travelled of word embeddings."""
    found = {}
    for point in points:
        table = point["reduced_bytes"] - machine.wire_bytes * point["dense_parameters"]
        if point["ranks"] > 1 and point["dense_parameters"] < point["trainable_parameters"]:
            rows = (table - COUNT_BYTES * MINILM.vocabulary) / machine.wire_bytes / MINILM.hidden
            if rows >= 1:
                found.setdefault(round(point["tokens_per_step"]), rows)
    if not found:
        return Rows()
    tokens, rows = np.log(list(found)), np.log(list(found.values()))
    if len(found) == 1:
        return Rows(float(np.exp(rows[0] - tokens[0])), 1.0)
    power = float(np.clip(np.polyfit(tokens, rows, 1)[0], 0, 1))
    return Rows(float(np.exp(np.mean(rows - power * tokens))), power)


def least_squares(terms: list[list[float]], seconds: list[float]) -> np.ndarray:
    """With the least relative errors (short steps count as much as long ones), and no negative term."""
    relative = np.array(terms) / np.array(seconds)[:, None]
    best, least = np.zeros(relative.shape[1]), math.inf
    for some in product((False, True), repeat=relative.shape[1]):
        found = np.zeros(relative.shape[1])
        found[list(some)] = np.linalg.lstsq(relative[:, list(some)], np.ones(len(relative)), rcond=None)[0]
        error = float(np.sum((relative @ found - 1) ** 2))
        if np.all(found >= 0) and error < least:
            best, least = found, error
    return best


def optimizer_of(points: list[dict]) -> tuple[float, float]:
    """What each rank does, and what they share out."""
    seconds = [point["optimizer_seconds"] for point in points]
    if not any(point["sharded_optimizer"] for point in points):
        return statistics.median(seconds), 0.0
    each, dealt = least_squares(
        [[1.0, 1 / point["ranks"] if point["sharded_optimizer"] else 1.0] for point in points], seconds
    )
    return float(each), float(dealt)


def hidden_share(whole: float, waited: float) -> float:
    """How much of what a link takes is hidden, where so much of it was waited for."""
    return min(1.0, max(0.0, 1 - waited / whole)) if whole > 0 else 0.0


def model_of(method: str, points: list[dict], link: Link, machine: Machine) -> StepModel:
    """Fitted to a method's points: those whose ranks share cores say how these slow each other down, and no more."""
    own = [point for point in points if machine.share(point["ranks"]) == 1]
    crowded = [point for point in points if machine.share(point["ranks"]) > 1]
    terms = [[1.0, tokens_of_rank(point), float(point["ranks"] > 1)] for point in own]
    start, per_token, beside = least_squares(terms, [point["compute_seconds"] for point in own])
    several = [point for point in own if point["ranks"] > 1]
    each, dealt = optimizer_of(own)
    model = StepModel(
        method,
        machine,
        float(start),
        float(per_token),
        contention=0.0,
        jitter=0.0,
        crowding=1.0,
        overlap=0.0,
        gather_overlap=0.0,
        each=each,
        dealt=dealt,
        rows=rows_of(points, machine),
        sharded=any(point["sharded_optimizer"] for point in points),
    )
    if several:
        most = max(several, key=lambda point: (point["ranks"], tokens_of_rank(point)))
        ranks, work = most["ranks"], work_of_point(most, machine)
        exchange = link.reduce_seconds(ranks, work.reduced, work.messages, model.sharded)
        gather = link.gather_seconds(ranks, work.gathered, work.gather_messages)
        # What compute takes more is, first, of the exchange, then of the gather, then contention.
        of_exchange = min(beside, max(0.0, exchange - most["exchange_seconds"]))
        of_gather = min(beside - of_exchange, max(0.0, gather - most["gather_seconds"]))
        alone = model.compute(tokens_of_rank(most), 1)
        jitters = [each["imbalance_seconds"] / each["compute_seconds"] / largest_of(each["ranks"]) for each in several]
        model = replace(
            model,
            contention=float((beside - of_exchange - of_gather) / alone),
            jitter=statistics.fmean(jitters),
            overlap=hidden_share(exchange, most["exchange_seconds"] + of_exchange),
            gather_overlap=hidden_share(gather, most["gather_seconds"] + of_gather),
        )
    if crowded:
        costs = [point["step_seconds"] / sum(seconds_of_point(model, point, link).values()) for point in crowded]
        model = replace(model, crowding=statistics.median(costs))
    return model


def seconds_of_point(model: StepModel, point: dict, link: Link) -> dict[str, float]:
    """What the model says of a step that was measured."""
    share = model.machine.share(point["ranks"])
    slower = share * (model.crowding if share > 1 else 1)
    parts = model.seconds(tokens_of_rank(point), point["ranks"], link, work_of_point(point, model.machine))
    return {name: slower * seconds for name, seconds in parts.items()}
