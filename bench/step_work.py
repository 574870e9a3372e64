"""What a training step must compute and move, operation by operation: the work of which bench/floor.py makes a floor.

Of a BERT encoder on the CPU, for texts of one length. Counted are

- linear layers: 2 P a token forward, 2 P for the gradients of their inputs, 2 P for the weights' where they train (P:
  the encoder's matrix parameters). LoRA needs no gradient of what goes into the lowest queries, keys and values;
- LoRA's own two matmuls a layer that has them, and four backward;
- attention: two matmuls forward, four backward for the gradients, and there the probabilities: multiplied again or,
  where that takes less, read as forward has left them (that forward then writes them is not counted). Queries, keys,
  values and what attention makes of them are read and written once, as are their gradients. LoRA needs none of the
  lowest keys;
- between the matmuls, norms with their residuals and the activation: each reads what it takes once and writes what it
  gives once, in backward likewise, with what it kept;
- the optimiser: values, gradients and two moments read, values and two moments written, in bf16 the copies for matmuls;
  of embeddings that no text has reached, as in a first step, values alone (weight decay).

Left out are the lookup of embeddings, head, loss, biases, random numbers, exp and erf.
"""

from dataclasses import dataclass

FLOAT = 4  # bytes; residuals, norms, gradients of weights and the optimiser's state, in bf16 too
METHODS = ("full", "lora", "head")
PHASES = ("forward", "inputs' gradients", "weights' gradients", "adapters", "attention", "between", "optimiser")
LORA_RANK = 8  # on queries and values: peft's defaults, which are dtrain's


@dataclass(frozen=True)
class Sizes:
    """Of an encoder."""

    layers: int
    hidden: int
    wide: int
    heads: int
    embedding_rows: int

    @classmethod
    def of(cls, config: dict) -> "Sizes":
        """From a BERT's config.json."""
        rows = config["vocab_size"] + config["max_position_embeddings"] + config["type_vocab_size"]
        names = ("num_hidden_layers", "hidden_size", "intermediate_size", "num_attention_heads")
        return cls(*(config[name] for name in names), rows)

    def matrix_parameters(self) -> int:
        """P, of the linear layers."""
        return self.layers * (4 * self.hidden * self.hidden + 2 * self.hidden * self.wide)


@dataclass(frozen=True)
class Matmul:
    """A linear layer's, by what it computes: "forward", "input gradient" or "weight gradient"."""

    kind: str
    rows: int
    inputs: int
    outputs: int

    def flop(self) -> float:
        """Two for each of its products."""
        return 2.0 * self.rows * self.inputs * self.outputs


@dataclass(frozen=True)
class Work:
    """One operation, `times` in a step: what it multiplies, at the rate of which matmul, and what it moves."""

    phase: str
    times: int = 1
    flop: float = 0
    like: Matmul | None = None
    bytes: float = 0
    working_set: float = 0  # bytes that are touched in turn: what fits a cache moves at the cache's rate
    instead: "Work | None" = None  # what gives the same, to be taken where it takes less


def work_of(phase: str, matmul: Matmul, times: int) -> Work:
    """A linear layer's matmul as work; what it moves is in its rate."""
    return Work(phase, times, matmul.flop(), matmul)


@dataclass(frozen=True)
class Step:
    """A step of a method: texts of `length` tokens, `tokens` in all."""

    sizes: Sizes
    method: str
    precision: str
    tokens: int
    length: float

    def factor_bytes(self) -> int:
        """Of a number that a matmul takes or gives."""
        return 2 if self.precision == "bf16" else FLOAT

    def moving(self, phase: str, times: int, size: float, working_set: float | None = None) -> Work:
        """What only moves numbers."""
        return Work(phase, times, bytes=size, working_set=size if working_set is None else working_set)

    def linear_layers(self) -> list[Work]:
        """Forward and backward of the encoder's linear layers."""
        layers, hidden, wide = self.sizes.layers, self.sizes.hidden, self.sizes.wide
        shapes = {(hidden, hidden): 4 * layers, (hidden, wide): layers, (wide, hidden): layers}
        work = []
        for (inputs, outputs), times in shapes.items():
            below = 3 if self.method == "lora" and inputs == outputs else 0  # the lowest queries, keys and values
            kinds = {"forward": ("forward", times)}
            if self.method != "head":
                kinds["input gradient"] = ("inputs' gradients", times - below)
            if self.method == "full":
                kinds["weight gradient"] = ("weights' gradients", times)
            for kind, (phase, count) in kinds.items():
                work.append(work_of(phase, Matmul(kind, self.tokens, inputs, outputs), count))
        return work

    def adapters(self) -> list[Work]:
        """LoRA's A and B on queries and values."""
        if self.method != "lora":
            return []
        hidden, adapted = self.sizes.hidden, 2 * self.sizes.layers
        down, up = (hidden, LORA_RANK), (LORA_RANK, hidden)
        counts = {
            ("forward", down): adapted,
            ("forward", up): adapted,
            ("input gradient", up): adapted,
            ("input gradient", down): adapted - 2,  # not below the lowest layer
            ("weight gradient", up): adapted,
            ("weight gradient", down): adapted,
        }
        return [work_of("adapters", Matmul(kind, self.tokens, *shape), n) for (kind, shape), n in counts.items()]

    def attention(self) -> list[Work]:
        """Of every layer, at the rate of the linear layers: no shape is multiplied faster."""
        hidden = self.sizes.hidden
        like = Matmul("forward", self.tokens, hidden, self.sizes.wide)
        of_one = 2.0 * self.length * self.tokens * hidden
        row = self.factor_bytes() * self.tokens * hidden
        work = [Work("attention", self.sizes.layers, 2 * of_one, like, 4 * row, 4 * row)]
        if self.method == "head":
            return work
        probabilities = self.factor_bytes() * self.length * self.tokens * self.sizes.heads

        def backward(layers: int, gradients: int) -> Work:
            # Of the probabilities one gradient; of queries, keys and values one each, which are written. Read are those
            # three and the result's gradient.
            flop, moved, kept = (1 + gradients) * of_one, (4 + gradients) * row, self.kept_bytes()
            reading = Work("attention", layers, flop, like, moved + probabilities, kept)
            return Work("attention", layers, flop + of_one, like, moved, kept, reading)

        lowest = 1 if self.method == "lora" else 0
        work += [backward(self.sizes.layers - lowest, 3)] + [backward(1, 2)] * lowest
        return work

    def kept_bytes(self) -> float:
        """What backward finds of forward: read so long after it was written that it lies where all of it fits."""
        of_layer = 6 * self.sizes.hidden + self.sizes.wide
        if self.method == "full":
            of_layer += 2 * self.sizes.hidden + self.sizes.wide
        return float(self.factor_bytes() * self.tokens * of_layer * self.sizes.layers)

    def between(self) -> list[Work]:
        """Two norms, each with its residual, and the activation of every layer."""
        layers, factor = self.sizes.layers, self.factor_bytes()
        row, wide = self.tokens * self.sizes.hidden, self.tokens * self.sizes.wide
        work = [
            self.moving("between", 2 * layers, (factor + 2 * FLOAT) * row),
            self.moving("between", layers, 2 * factor * wide),
        ]
        if self.method != "head":
            # The gradient above and what was normalised, or activated, are read, the gradient below is written.
            work += [
                self.moving("between", 2 * layers, (factor + FLOAT) * row),
                self.moving("between", 2 * layers, FLOAT * row, self.kept_bytes()),
                self.moving("between", layers, 2 * factor * wide),
                self.moving("between", layers, factor * wide, self.kept_bytes()),
            ]
        return work

    def optimiser(self) -> list[Work]:
        """AdamW's pass over what trains, and over embeddings that no text has reached."""
        if self.method == "head":
            return []
        hidden = self.sizes.hidden
        of_lora = 2 * self.sizes.layers * 2 * LORA_RANK * hidden
        trained = self.sizes.matrix_parameters() if self.method == "full" else of_lora
        moved = (7 * FLOAT + (2 if self.precision == "bf16" else 0)) * trained
        if self.method == "full":
            moved += 2 * FLOAT * self.sizes.embedding_rows * hidden
        return [self.moving("optimiser", 1, moved)]

    def work(self) -> list[Work]:
        """All of a step."""
        return [*self.linear_layers(), *self.adapters(), *self.attention(), *self.between(), *self.optimiser()]
