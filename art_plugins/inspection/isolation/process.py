"""A model in a process of its own, which cannot write files or reach a network, and whose time is limited."""

from __future__ import annotations

import io
import logging
import os
import selectors
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from joblib import cpu_count

from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.inspection.evidence.network import LayerFindings, LayerSearch
from art_plugins.inspection.isolation import messages, sandbox
from art_plugins.inspection.isolation.judge import FittedDetector, FittedLayers, Judgement, ModelFacts, ModelJudge
from art_plugins.inspection.isolation.messages import Message
from art_plugins.triggers.found import Inversion

FIRST_ANSWER_S = 180.0  # for the two images of noise that a model is shown first, on a slow and busy machine
START_S = 300.0  # until torch and ART are imported
MAX_PRINTED = 2**20  # bytes that the model's process may print, progress bars above all


class JudgeProcess:
    """
    A :class:`~art_plugins.inspection.isolation.judge.Judge` in another process; a context manager, which ends the process.

    :param path: A TorchScript file; its content is given to the process, which cannot read it itself.
    :param size: Width and height of the images, or the number of samples of the waveforms alone.
    :param options: ``is_grey``, ``mean`` and ``std``, as of :func:`load_classifier`.
    :param timeout_s: Most seconds that the model may take in total.
    :raises InvalidInputError: As :func:`load_classifier` does; also if the model does not answer in time, or breaks the
        rules.
    """

    def __init__(self, path: Path, size: Sequence[int], options: Mapping[str, Any], timeout_s: float) -> None:
        sandbox.check_possible(path)
        self._path, self._timeout_s, self._by_layers = path, timeout_s, False
        printed, printing = os.pipe()
        arguments = [str(timeout_s), "bars" if sys.stderr.isatty() else "", str(_n_threads())]
        self._process = sandbox.start(f"{__name__}:main", arguments, printing)
        os.close(printing)
        threading.Thread(target=_pass_on, args=(os.fdopen(printed, "rb", buffering=0),), daemon=True).start()
        try:
            self._read(START_S, 2**10)
            self._deadline = time.monotonic() + timeout_s
            self._n_bytes = 2**20
            values = {"name": str(path), "size": list(size), **options}
            content = np.frombuffer(path.read_bytes(), dtype=np.uint8)
            answer = self._ask("load", values, {"content": content}, min(FIRST_ANSWER_S, timeout_s))
            shape = answer.values.get("input_shape")
            n_sides, longest = (3, 2**14) if len(size) == 2 else (1, 2**26)
            if (
                not isinstance(shape, list)
                or len(shape) != n_sides
                or not isinstance(answer.values.get("channels_first"), bool)
            ):
                raise messages.unexpected("no shape of a sample")
            sides = tuple(int(messages.number(side, 1, longest)) for side in shape)
            nb_classes = int(messages.number(answer.values.get("nb_classes"), 2, 2**20))
            self.facts = ModelFacts(sides, answer.values["channels_first"], nb_classes)
            # The largest answer: masks and patterns of two kinds, for targets and for sources, in double precision.
            self._n_bytes = 2**26 + 8 * 4 * 2 * nb_classes * int(np.prod(sides))
        except BaseException:
            self.close()
            raise

    def show_clean(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See :class:`Judge`."""
        answer = self._ask("show_clean", {}, {"x": x, "y": y})
        return messages.array(answer, "outputs", "f", len(x), self.facts.nb_classes)

    def invert(self, nb_steps: int, threshold: float, random_state: int, verbose: bool) -> Inversion:
        """See :class:`Judge`."""
        values = {"nb_steps": nb_steps, "threshold": threshold, "random_state": random_state, "verbose": verbose}
        return messages.unpack_inversion(self._ask("invert", values), self.facts)

    def fit(self) -> FittedDetector:
        """See :class:`Judge`."""
        return messages.unpack_fitted(self._ask("fit", {}))

    def fit_layers(self, fpr: float, random_state: int) -> FittedLayers:
        """See :class:`Judge`."""
        answer = self._ask("fit_layers", {"fpr": fpr, "random_state": random_state})
        fitted = messages.unpack_layers(answer, fpr)
        self._by_layers = fitted.problem is None
        return fitted

    def detect(self, x: np.ndarray) -> Judgement:
        """See :class:`Judge`."""
        answer = self._ask("detect", {}, {"x": x})
        return messages.unpack_judgement(answer, len(x), self.facts.nb_classes, self._by_layers)

    def look_at_layers(self, search: LayerSearch) -> LayerFindings:
        """See :class:`Judge`."""
        n = len(search.data.x)
        self._n_bytes = max(self._n_bytes, 2**20 + (messages.MOST_GROUPS + 16) * n)
        answer = self._ask("look_at_layers", *messages.pack_search(search))
        return messages.unpack_findings(answer, n, self.facts.nb_classes)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:  # what was on its way to a process that has ended
                    continue
        self._process.wait()

    def __enter__(self) -> JudgeProcess:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(
        self,
        what: str,
        values: Mapping[str, Any],
        arrays: Mapping[str, np.ndarray] | None = None,
        seconds: float | None = None,
    ) -> Message:
        assert self._process.stdin is not None
        left = max(0.0, self._deadline - time.monotonic())
        # A process that does not read would keep this one waiting, so the request is sent beside.
        request = messages.packed({"what": what, **values}, arrays)
        threading.Thread(target=_send, args=(self._process.stdin, request), daemon=True).start()
        answer = self._read(left if seconds is None else min(seconds, left), self._n_bytes)
        if "error" in answer.values:
            raise InvalidInputError(messages.printable(str(answer.values["error"])))
        return answer

    def _read(self, seconds: float, n_bytes: int) -> Message:
        """Read one message."""
        deadline = time.monotonic() + seconds
        sizes = messages.lengths(self._receive(messages.LENGTHS, deadline, seconds), n_bytes)
        text, rest = (self._receive(size, deadline, seconds) for size in sizes)
        return messages.unpacked(text, rest)

    def _receive(self, size: int, deadline: float, seconds: float) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        received = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(pipe, selectors.EVENT_READ)
            while len(received) < size:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise InvalidInputError(
                        f"{self._path} did not answer within {seconds:.0f} s, so it was ended. It may compute without end, "
                        f"or it needs more time than --timeout {self._timeout_s:g} (seconds) allows."
                    )
                part = os.read(pipe.fileno(), min(2**20, size - len(received)))
                if not part:
                    why = sandbox.ending(self._process.wait())
                    raise InvalidInputError(f"{self._path} cannot be judged: the process that ran it is gone ({why}).")
                received += part
        return bytes(received)


class _Terminal(io.TextIOWrapper):
    """Says that it is a terminal, because what is written is passed on to one; so progress bars are drawn."""

    def isatty(self) -> bool:
        return True


def _n_threads() -> int:
    """As many as the environment allows this process, or as it has cores."""
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    return int(allowed) if allowed.isdecimal() and int(allowed) > 0 else cpu_count()


def main(timeout_s: str, bars: str, n_threads: str) -> None:
    """Run the process of the model: import the libraries, give up all rights, then answer requests."""
    if bars:
        sys.stderr = _Terminal(sys.stderr.buffer, encoding="utf-8", errors="replace", write_through=True)
    requests, answers = sandbox.private_pipes()
    logging.getLogger("art_plugins.defences").setLevel(logging.ERROR)  # its maker words the cautions
    import torch
    import torch._dynamo  # the optimisers import it, which afterwards could not look for a temporary folder

    sandbox.lock_down(float(timeout_s))
    torch.set_num_threads(int(n_threads))
    answers.write(messages.packed({"ready": True}))
    answers.flush()
    judge: ModelJudge | None = None
    while True:
        start = requests.read(messages.LENGTHS)
        if len(start) < messages.LENGTHS:
            return
        sizes = (int.from_bytes(start[:8], "little"), int.from_bytes(start[8:], "little"))
        request = messages.unpacked(requests.read(sizes[0]), requests.read(sizes[1]))
        try:
            judge, answer = _answer(judge, request)
        except ArtPluginsError as error:
            answer = messages.packed({"error": str(error)})
        except Exception as error:  # whatever a stranger's model brings about, memory that ran out above all
            reason = " ".join(str(error).split())[:300]
            answer = messages.packed({"error": f"The model failed while it was judged: {type(error).__name__}: {reason}"})
        answers.write(answer)
        answers.flush()


def _answer(judge: ModelJudge | None, request: Message) -> tuple[ModelJudge, bytes]:
    values, arrays = dict(request.values), request.arrays
    what = values.pop("what")
    if what == "load":
        content = arrays["content"].tobytes()
        loaded = ModelJudge.from_script(content, size=tuple(values.pop("size")), **values)
        return loaded, messages.packed(loaded.facts._asdict())
    assert judge is not None
    if what == "show_clean":
        return judge, messages.packed({}, {"outputs": judge.show_clean(arrays["x"], arrays["y"])})
    if what == "invert":
        return judge, messages.packed(*messages.pack_inversion(judge.invert(**values)))
    if what == "fit":
        fitted = judge.fit()
        names = ("success_rate", "margin", "parameters", "settings")
        return judge, messages.packed({name: getattr(fitted, name) for name in names}, fitted.arrays)
    if what == "fit_layers":
        return judge, messages.packed(judge.fit_layers(**values)._asdict())
    if what == "look_at_layers":
        found = judge.look_at_layers(messages.unpack_search(values, arrays))
        shown = {"members": found.members, "scores": found.scores, "is_clean": found.is_clean}
        return judge, messages.packed({"groups": found.groups[: messages.MOST_GROUPS]}, shown)
    return judge, messages.packed({}, messages.pack_judgement(judge.detect(arrays["x"])))


def _send(pipe: IO[bytes], request: bytes) -> None:
    try:
        pipe.write(request)
        pipe.flush()
    except (OSError, ValueError):  # the process is gone; whoever waits for its answer says so
        return


def _pass_on(printed: IO[bytes], write: Callable[[str], Any] | None = None) -> None:
    """Pass progress bars and warnings on to standard error, without characters that control the terminal."""
    n_left = MAX_PRINTED
    with printed:
        while part := printed.read(2**12):
            text = part[: max(0, n_left)].decode("utf-8", errors="ignore")
            n_left -= len(part)
            (write or sys.stderr.write)("".join(letter for letter in text if letter.isprintable() or letter in "\r\n"))
            sys.stderr.flush()
