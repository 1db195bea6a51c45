"""Each network alone on made input: noise of the right shape, over and over."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from ...engines.base import Engine, TensorSpec
from .records import Spread

WARM_UP = 5


def spread_of(call: Callable[[], object], seconds: float) -> Spread:
    """Spread of a call that is repeated for about ``seconds``, after a warm-up."""
    for _ in range(WARM_UP):
        call()
    taken, until = [], time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < WARM_UP:
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return Spread.of(taken)


def noise(specs: tuple[TensorSpec, ...]) -> dict[str, np.ndarray]:
    """Input of every name in 0..1; dimensions that are open have size 1."""
    rng = np.random.default_rng(0)
    return {s.name: rng.random([max(1, n) for n in s.shape]).astype(s.dtype) for s in specs}


def engine_alone(engine: Engine, seconds: float) -> Spread:
    """A network on noise."""
    feeds = noise(engine.inputs)
    return spread_of(lambda: engine(feeds), seconds)


def input_of(engine: Engine) -> str:
    """Shape of a network's input in words: of an image its sides, else the number of values."""
    shapes = [tuple(max(1, n) for n in s.shape) for s in engine.inputs]
    if len(shapes) == 1 and len(shapes[0]) == 4:
        _, a, b, c = shapes[0]
        height, width, channels = (b, c, a) if a in (1, 3) else (a, b, c)
        return f"{width}x{height}x{channels}"
    return f"{sum(int(np.prod(s)) for s in shapes):,} values"


def initialiser_graph(path: Path, prefix: str = "/network/descent.") -> bytes:
    """The part of a motion graph that comes before the descent: what the descent's operators take from the others
    becomes its outputs. Empty where the graph names none (``prefix``)."""
    import onnx

    model = onnx.load(str(path))
    descent = [n for n in model.graph.node if n.name.startswith(prefix)]
    if not descent:
        return b""
    made_there = {o for n in descent for o in n.output}
    # Operators that the exporter named after nothing belong to the descent where they need something of it.
    nodes = list(model.graph.node)
    for node in nodes:
        if made_there & set(node.input):
            made_there |= set(node.output)
    kept = [n for n in nodes if not made_there & set(n.output)]
    fixed = {t.name for t in model.graph.initializer}
    computed = {o for n in kept if not set(n.input) <= fixed for o in n.output}  # and no weight on its way
    ends = sorted({i for n in nodes if set(n.output) & made_there for i in n.input if i in computed})
    del model.graph.node[:], model.graph.output[:], model.graph.value_info[:]
    model.graph.node.extend(kept)
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ends)
    return model.SerializeToString()


def share_of_initialiser(path: Path, feeds: Mapping[str, np.ndarray], seconds: float, threads: int) -> Spread | None:
    """Time of the motion graph's first part alone, on ONNX Runtime's CPU; None where the graph cannot be cut."""
    from ...engines.ort import import_onnxruntime

    part = initialiser_graph(path)
    if not part:
        return None
    ort = import_onnxruntime()
    options = ort.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 4
    session = ort.InferenceSession(part, options, providers=["CPUExecutionProvider"])
    wanted = {i.name for i in session.get_inputs()}
    given = {n: v for n, v in feeds.items() if n in wanted}
    return spread_of(lambda: session.run(None, given), seconds)
