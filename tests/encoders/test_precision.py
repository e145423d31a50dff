"""Engine and precision: a faster way only where it pays and says what float32 says."""

import re
import time
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from encash.encoders import Encoded, load_encoder
from encash.encoders.agreement import EncodingAgreement, compare_embeddings, compare_encodings
from encash.encoders.batches import BatchedEncoder
from encash.encoders.torch import build_model, choice, load, precision, read_checkpoint, save_checkpoint
from encash.encoders.torch.choice import Candidate, LoadProgress, Trial, choose, fastest, settle_batch, try_candidates
from encash.errors import InputError, MismatchError
from encash.testing import EncoderContract, MeanEncoder, write_checkpoint
from tests.encoders.conftest import needs_int8

GOOD, BAD = EncodingAgreement(cosine=0.9999, neighbors=1.0), EncodingAgreement(cosine=0.97, neighbors=1.0)


def trial(name, rate, found=GOOD):
    """A trial of torch in a precision, or of ONNX Runtime by its name."""
    if name == "onnxruntime":
        return Trial(engine=name, entries_per_second=rate, agreement=found)
    return Trial(precision=name, entries_per_second=rate, agreement=found)


class TestBfloat16(EncoderContract):
    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path):
        self.path = write_checkpoint(tmp_path / "m.pt", num_features=5, hidden_dim=32, num_layers=2)

    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="bfloat16")


class TestMedium(TestBfloat16):
    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="medium")


class TestInt7(TestBfloat16):
    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="int7")


@needs_int8
class TestInt8(TestBfloat16):
    def make_encoder(self):
        return load_encoder(self.path, device="cpu", precision="int8")


@pytest.mark.parametrize(
    ("trials", "chosen"),
    [
        ([trial("float32", 10), trial("medium", 12), trial("bfloat16", 30)], "bfloat16"),
        ([trial("float32", 10), trial("medium", 14), trial("bfloat16", 12)], "medium"),
        ([trial("float32", 10), trial("medium", 12.9), trial("bfloat16", 5)], "float32"),
        ([trial("float32", 10), trial("medium", 9), trial("bfloat16", 40, BAD)], "float32"),
        ([trial("float32", 10), trial("bfloat16", 23), trial("int8", 35)], "int8"),
        ([trial("float32", 10), trial("bfloat16", 23), trial("int8", 27)], "bfloat16"),
        ([trial("float32", 10), trial("bfloat16", 23), trial("int8", 35, BAD)], "bfloat16"),
        (
            [
                trial("float32", 10),
                trial("medium", 9),
                trial("bfloat16", 40, EncodingAgreement(cosine=1, neighbors=0.9)),
            ],
            "float32",
        ),
        ([trial("float32", 10), trial("int8", 12), trial("onnxruntime", 14)], "onnxruntime"),
        ([trial("float32", 10), trial("int8", 14), trial("onnxruntime", 17)], "int8"),
        ([trial("float32", 10), trial("int8", 12), trial("onnxruntime", 14, BAD)], "float32"),
        ([trial("float32", 10), trial("int8", 12), trial("onnxruntime", 14, None)], "float32"),
    ],
)
def test_the_fastest_that_pays_and_agrees_is_taken(trials, chosen):
    """1.3 times the speed of what was taken before it, cosine and neighbors as float32's; else float32."""
    best = choose(trials)
    assert chosen == (best.engine if best.engine != "torch" else best.precision)


def test_agreement_sees_what_a_plain_cosine_hides():
    """Embeddings that share a large common part have cosines near 1 even when what tells them apart is lost."""
    random = np.random.default_rng(0)
    own = random.normal(size=(16, 32)).astype(np.float32)
    reference, scrambled = 100 + own, 100 + own[::-1]
    plain = (reference * scrambled).sum(1) / np.linalg.norm(reference, axis=1) / np.linalg.norm(scrambled, axis=1)
    assert plain.min() > 0.999
    assert not compare_embeddings(reference, scrambled).sufficient
    assert compare_embeddings(
        reference, reference + np.float32(1e-4) * random.normal(size=own.shape).astype(np.float32)
    ).sufficient


@pytest.mark.parametrize(
    ("windows", "changed", "agree"), [(12, 1, True), (12, 2, False), (2_000, 4, True), (2_000, 5, False)]
)
def test_one_in_a_hundred_picks_may_change_or_a_single_one(windows, changed, agree):
    """Among few windows, one near tie does not decide; among many, 1% of the picks may change."""
    embedding = np.random.default_rng(0).normal(size=(windows, 8)).astype(np.float32)
    forecast = np.tile(np.arange(windows, 0, -1, dtype=np.float32)[:, None], 4)
    picked, other = max(1, windows // 20), forecast.copy()
    for place in range(changed):
        other[[place // 4, picked + place // 4], place % 4] = other[[picked + place // 4, place // 4], place % 4]
    sides = (Encoded(embedding=embedding, forecast=one, confidence=one) for one in (forecast, other))
    assert compare_encodings(*sides).sufficient == agree


@pytest.mark.parametrize("precision", ["bfloat16", "int7", pytest.param("int8", marks=needs_int8)])
def test_a_faster_precision_says_what_float32_says(tmp_path, precision):
    """Same neighbors, cosine near 1, forecasts close; yet another identity, for the bits differ."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=8, hidden_dim=64, num_layers=4, lookback=20)
    plain, fast = (load_encoder(path, device="cpu", precision=name) for name in ("float32", precision))
    windows = np.random.default_rng(0).normal(size=(40, 20, 8)).astype(np.float32)
    ours, theirs = plain.encode(windows), fast.encode(windows)
    assert compare_embeddings(ours.embedding, theirs.embedding).cosine > 0.999
    assert abs(ours.forecast - theirs.forecast).max() < 0.02
    assert not np.array_equal(ours.embedding, theirs.embedding)
    assert plain.spec.fingerprint != fast.spec.fingerprint


def test_a_small_model_stays_in_float32_without_a_measurement(tmp_path, monkeypatch):
    """Below 128 wide nothing is measured, and the choice says why."""
    monkeypatch.setattr(choice, "try_candidates", lambda *_: pytest.fail("measured"))
    encoder = load_encoder(write_checkpoint(tmp_path / "m.pt", num_features=3, hidden_dim=64), device="cpu")
    assert encoder.spec.precision == "float32"
    assert "too small" in encoder.choice


def test_auto_takes_what_was_measured_and_says_so(tmp_path, monkeypatch):
    """The spec holds the precision that was found best, and the line names all that were tried."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=3, hidden_dim=128, num_heads=4)
    measured = load_encoder(path, device="cpu")
    available = ("float32", *precision.worth_measuring(torch.device("cpu")))
    assert measured.spec.precision in available
    assert all(name in measured.choice for name in (*available, "entries/s", "cosine"))
    tried = [trial("float32", 3.7), trial("medium", 5), trial("bfloat16", 16.6)]
    fast = load_encoder(path, device="cpu", precision="bfloat16", batch_size=64)
    monkeypatch.setattr(choice, "try_candidates", lambda *_: (fast, tried))
    chosen = load_encoder(path, device="cpu", batch_size=64)
    assert chosen.spec == load_encoder(path, device="cpu", precision="bfloat16").spec
    assert chosen.choice.startswith("bfloat16, torch, batch 64: 16.6 entries/s; float32 3.7, medium 5;")


def test_the_agreement_is_measured_on_the_users_own_windows(tmp_path, monkeypatch):
    """The sample is asked for windows of the model's lookback; each precision encodes these and no others."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=3, hidden_dim=128, num_heads=4, lookback=6)
    own = np.random.default_rng(5).normal(size=(14, 6, 3)).astype(np.float32)
    asked, given = list[int](), list[np.ndarray]()

    def sample(lookback):
        asked.append(lookback)
        return own

    def measure(plain, _, windows, __):
        given.append(windows)
        return plain, [trial("float32", 1)]

    monkeypatch.setattr(choice, "try_candidates", measure)
    load_encoder(path, device="cpu", sample=sample)
    assert asked == [6]
    np.testing.assert_array_equal(given[0], own)
    load_encoder(path, device="cpu", sample=lambda _: own[:2])
    assert len(given[1]) >= choice.FEWEST_WINDOWS, "too few of the data: random ones"
    with pytest.raises(MismatchError, match="the data have 2 features"):
        load_encoder(path, device="cpu", sample=lambda _: own[:, :, :2])


@needs_int8
def test_a_precision_that_loses_what_tells_windows_apart_is_not_taken(tmp_path, monkeypatch):
    """An activation that dwarfs its row leaves 8 bits nothing of the others: int8 is named with its fault, however fast
    it is."""
    monkeypatch.setattr(choice, "LEAST_SPEEDUP", 0)
    path = write_checkpoint(tmp_path / "m.pt", num_features=3, hidden_dim=128, num_heads=4)
    model = build_model(read_checkpoint(path))
    layers: Any = model.transformer.layers
    for layer in layers:  # the weights do not care for it, so float32 is as it was
        layer.norm2.weight[0] = 1e5
        layer.linear1.weight[:, 0] = 0
    save_checkpoint(path, model, {"config": {"seq_len": 8}})
    encoder = load_encoder(path, device="cpu", engine="torch")
    line = next(part for part in encoder.choice.split(";")[1].split(", ") if "int8" in part)
    assert "disagrees" in line


class Paced(BatchedEncoder):
    """An encoder that takes a fixed time per window and counts the windows."""

    def __init__(self, seconds, *, seed=0, cold=0.0):
        self.encoder = MeanEncoder(2, lookback=4, dim=128, seed=seed)
        super().__init__(self.encoder.spec, batch_size=8, smallest_call=1)
        self.seconds, self.windows, self.cold = seconds, 0, [cold] * 2

    def call(self, windows):
        time.sleep(self.seconds * len(windows) + (self.cold.pop() if self.cold else 0.0))
        self.windows += len(windows)
        return self.encoder.encode(windows)


def _same(encoder):
    return encoder


class TestTheMeasurement:
    """What is tried, on what, and what of it is spared."""

    windows = np.random.default_rng(0).standard_normal((16, 4, 2)).astype(np.float32)

    def test_a_way_that_pays_and_agrees_is_taken_and_another_is_not_compared(self):
        """The fast one encodes what agreement needs; the slow one only what its speed needs."""
        plain, slow, fast = Paced(0.02), Paced(0.02), Paced(0.002)
        ways = [Candidate(make=lambda: slow, precision="medium"), Candidate(make=lambda: fast, engine="onnxruntime")]
        chosen, trials = try_candidates(plain, ways, self.windows, LoadProgress())
        assert chosen is fast
        assert [each.agreement is None for each in trials] == [True, True, False]
        calls = choice.WARM_UPS + choice.ROUNDS
        assert slow.windows <= calls * choice.FEW_WINDOWS
        twice = calls + choice.ROUNDS
        assert fast.windows == twice * choice.FEW_WINDOWS + len(self.windows), "measured twice, compared once"

    def test_a_fast_way_that_says_something_else_is_not_taken(self):
        """Other weights: compared, found to disagree, left, and named with its fault."""
        plain = Paced(0.02)
        other = Paced(0.001, seed=1)
        encoder = fastest(plain, [Candidate(make=lambda: other, engine="onnxruntime")], lambda _: self.windows)
        assert encoder is plain
        assert re.search(r"float32 \(onnxruntime\) \S+ \(disagrees", encoder.choice)

    def test_slow_first_calls_do_not_decide(self):
        """A device whose first two calls take 0.1 s more, as code and kernels are loaded, is measured when warm."""
        plain, device = Paced(0.001), Paced(0.0001, cold=0.1)
        chosen, trials = try_candidates(
            plain, [Candidate(make=lambda: device, precision="bfloat16")], self.windows, LoadProgress()
        )
        assert chosen is device
        assert choose(trials) is trials[1]

    @pytest.mark.parametrize(("calls", "found"), [((3.0, 0.9, 0.55, 0.01), 0.01), ((0.9, 0.8, 0.01), 0.8)])
    def test_long_calls_are_repeated_while_they_become_shorter(self, calls, found, monkeypatch):
        """A device may load code in several calls; a model that is slow itself is called twice. By a clock of calls."""
        left, now = list(calls), [0.0]
        monkeypatch.setattr(choice, "time", SimpleNamespace(perf_counter=lambda: now[0]))

        def call():
            now[0] += left.pop(0) if len(left) > 1 else left[0]

        assert choice.seconds_of(call) == pytest.approx(found)

    def test_a_way_must_be_faster_in_both_measurements(self, monkeypatch):
        """1.4 times as fast at first and 1.2 times in the second measurement: not taken; 1.4 and 1.35 times: taken."""
        for second, taken in ((12.0, False), (13.5, True)):
            plain, other = Paced(0), Paced(0)
            rates: dict[BatchedEncoder, Any] = {plain: iter([10.0, 10.0]), other: iter([14.0, second])}
            monkeypatch.setattr(choice._Measured, "rate", lambda _, encoder, *_a, now=rates, **_k: next(now[encoder]))
            way = Candidate(make=partial(_same, other), precision="medium")
            chosen, trials = try_candidates(plain, [way], self.windows, LoadProgress())
            assert (chosen is other) is taken
            assert (choose(trials) is trials[1]) is taken

    def test_a_precision_that_the_device_lacks_is_left_out(self, monkeypatch):
        """An error of the device, in making or in running, is named in the line; the next candidate is tried."""

        def refuse():
            raise RuntimeError("BFloat16 is not supported on MPS\nand more")

        broken, fast = Paced(0.001), Paced(0.0002)
        monkeypatch.setattr(broken, "call", lambda _: refuse())
        ways = [
            Candidate(make=refuse, precision="bfloat16"),
            Candidate(make=lambda: broken, precision="medium"),
            Candidate(make=lambda: fast, engine="onnxruntime"),
        ]
        encoder = fastest(Paced(0.002), ways, lambda _: self.windows)
        assert encoder is fast
        said = "not available (BFloat16 is not supported on MPS)"
        assert f"bfloat16 (torch) {said}, medium (torch) {said}" in encoder.choice

    @pytest.mark.parametrize("wrong", ["embedding", "forecast"])
    def test_the_gate_sees_what_sixteen_windows_do_not(self, wrong, monkeypatch):
        """Right on the first 64 windows and wrong on some later ones, in clusters or in picks: not taken."""
        monkeypatch.setattr(choice, "GATE_SECONDS", 1e9)  # so that a busy machine does not compare fewer
        many = np.random.default_rng(0).standard_normal((2048, 4, 2)).astype(np.float32)
        marked = {window.tobytes() for window in many[100::20]}

        class Wrong(Paced):
            def call(self, windows):
                result = super().call(windows)
                for number, window in enumerate(windows):
                    if window.tobytes() in marked:
                        getattr(result, wrong)[number] *= -1
                return result

        fast = Wrong(0.00001)
        encoder = fastest(Paced(0.0005), [Candidate(make=lambda: fast, engine="onnxruntime")], lambda _: many)
        assert encoder is not fast
        assert re.search(r"disagrees: .* of 2,048 windows", encoder.choice)

    def test_what_cannot_pay_is_not_made(self):
        """A limit below 1.3 times what was taken spares the making; the line says the limit."""
        way = Candidate(make=lambda: pytest.fail("made"), engine="onnxruntime", speed_limit=lambda: 7)
        encoder = fastest(Paced(0.02), [way], lambda _: self.windows)
        assert "float32 (onnxruntime) at most 7;" in encoder.choice

    @pytest.mark.parametrize(("limit", "total"), [(7, 4), (np.inf, 8)])
    def test_steps_are_told_as_they_are_known_and_passed(self, limit, total):
        """Reading, float32, another way, the batch; what is long counts as several steps once it is to be made."""
        way = Candidate(make=lambda: Paced(0.002), engine="onnxruntime", speed_limit=lambda: limit, steps=5)
        told = []
        fastest(Paced(0.02), [way], lambda _: self.windows, progress=LoadProgress(lambda *now: told.append(now)))
        assert told[:2] == [(1, 4), (2, 4)]
        assert told[-2:] == [(total - 1, total), (total, total)]
        assert ((2, total) in told) is True

    def test_the_line_names_the_engine_of_what_was_not_chosen(self):
        """Where ONNX Runtime is taken, the precisions beside it are told to be torch's."""
        plain, fast = Paced(0.02), Paced(0.002)
        fast.spec = replace(fast.spec, engine="onnxruntime")
        encoder = fastest(plain, [Candidate(make=lambda: fast, engine="onnxruntime")], lambda _: self.windows)
        assert re.match(r"float32, onnxruntime, batch \d: \S+ entries/s; float32 \(torch\) \S+; cosine", encoder.choice)


@pytest.mark.parametrize(("slow", "kept"), [(8, 4), (4, 8)])
def test_half_the_batch_is_taken_where_it_is_faster(slow, kept):
    """The batch that pays is kept, and its rate is given back."""

    class Slow(MeanEncoder):
        def encode(self, windows):
            time.sleep(0.1 if self.batch_size == slow else 0.001)
            return super().encode(windows)

    encoder = Slow(2, lookback=4, dim=5, batch_size=8)
    assert settle_batch(encoder, np.zeros((3, 4, 2), dtype=np.float32)) > 0
    assert encoder.batch_size == kept


def test_int8_is_offered_where_its_products_are_exact(tmp_path, monkeypatch):
    """A processor whose integers saturate measures int7 instead, a GPU neither; asking for int8 is an error there."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=3)
    monkeypatch.setattr(precision, "products_are_exact", lambda name: name == "int7")
    assert "int8" not in precision.offered("cpu")
    assert precision.offered("cpu")[-1] == precision.worth_measuring(torch.device("cpu"))[-1] == "int7"
    assert not {"int8", "int7"} & {*precision.offered("cuda")}
    with pytest.raises(InputError, match="not available on cpu here"):
        load_encoder(path, device="cpu", precision="int8")


BACKENDS: Any = torch.backends  # torch has no types for these settings
SETTINGS = {
    "name": lambda: torch.set_float32_matmul_precision("medium"),
    "everything": lambda: setattr(BACKENDS, "fp32_precision", "bf16"),
    "cuda": lambda: setattr(BACKENDS.cuda.matmul, "fp32_precision", "tf32"),
    "cpu": lambda: setattr(BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
    "all of mkldnn": lambda: setattr(BACKENDS.mkldnn, "fp32_precision", "bf16"),
    "allow": lambda: setattr(BACKENDS.cuda.matmul, "allow_tf32", True),
}
"""What a program may have set before it calls encash."""


def _torchs_state():
    """Every setting of the precision of products; an error of torch, where old and new ones contradict, as its text."""
    try:
        name = torch.get_float32_matmul_precision()
    except RuntimeError as error:
        name = str(error)
    backends = BACKENDS, BACKENDS.cuda.matmul, BACKENDS.mkldnn, BACKENDS.mkldnn.matmul
    return name, *(backend.fp32_precision for backend in backends)


@pytest.mark.skipif(not hasattr(BACKENDS, "fp32_precision"), reason="a torch without these settings")
@pytest.mark.parametrize("when", ["before loading", "after loading"])
@pytest.mark.parametrize("setting", SETTINGS)
def test_torchs_own_switches_stay_as_they_were(tmp_path, setting, when):
    """The process-wide precision of torch, old or new, neither changes our results nor is changed by us."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=8, hidden_dim=64)
    windows = np.random.default_rng(0).normal(size=(5, 8, 8)).astype(np.float32)
    names = "float32", "medium"
    encoders = [load_encoder(path, device="cpu", precision=name) for name in names]
    expected = [encoder.encode(windows).embedding for encoder in encoders]
    try:
        SETTINGS[setting]()
        before = _torchs_state()
        if when == "before loading":
            encoders = [load_encoder(path, device="cpu", precision=name) for name in names]
        for encoder, embedding in zip(encoders, expected, strict=True):
            np.testing.assert_array_equal(encoder.encode(windows).embedding, embedding)
        assert _torchs_state() == before
    finally:
        BACKENDS.fp32_precision = "none"
        BACKENDS.cuda.matmul.fp32_precision = BACKENDS.mkldnn.matmul.fp32_precision = "none"
        torch.set_float32_matmul_precision("highest")


def test_medium_is_bfloat16_products_on_every_cpu(tmp_path):
    """Its distance from float32 is that of rounded factors, also on a CPU that does not multiply in bfloat16."""
    path = write_checkpoint(tmp_path / "m.pt", num_features=8, hidden_dim=64, num_layers=2, lookback=20)
    windows = np.random.default_rng(0).normal(size=(40, 20, 8)).astype(np.float32)
    plain, medium = (
        load_encoder(path, device="cpu", precision=name).encode(windows).embedding for name in ("float32", "medium")
    )
    distance = abs(plain - medium).max() / abs(plain).max()
    assert 1e-5 < distance < 1e-2
    assert compare_embeddings(plain, medium).cosine > 0.999


def test_a_cache_made_on_a_cpu_is_continued_on_a_machine_with_a_gpu(tmp_path, monkeypatch):
    """Its precision decides the device of auto, as its engine does; a device that is named is refused."""
    monkeypatch.setattr(load, "choose_device", lambda name: torch.device("cuda" if name == "auto" else name))
    path = write_checkpoint(tmp_path / "m.pt", num_features=3)
    for name in precision.offered("cpu"):
        if name in precision.CPU_ONLY:
            encoder: Any = load_encoder(path, device="auto", precision=name)
            assert (encoder.device, encoder.spec.precision) == (torch.device("cpu"), name)
    with pytest.raises(InputError, match=r"'medium' is not available on cuda here; .* or a different device"):
        load_encoder(path, device="cuda", precision="medium")


def test_a_device_has_the_precisions_that_it_can_compute(tmp_path, monkeypatch):
    """Medium and int8 are of CPUs, float16 of accelerators; a GPU before Ampere measures float16, others bfloat16."""
    for device in ("cuda", "mps", "xpu"):
        assert precision.offered(device) == ("float32", "float16", "bfloat16")
        with pytest.raises(InputError, match=f"'medium' is not available on {device} here; give auto or float32, fl"):
            precision.check_precision("medium", device)
    assert "float16" not in precision.offered("cpu")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: ((8, 0), (7, 5))[device.index])
    for number, expected in enumerate(("bfloat16", "float16")):
        assert precision.worth_measuring(torch.device("cuda", number)) == (expected,)
    path = write_checkpoint(tmp_path / "m.pt", num_features=3)
    with pytest.raises(InputError, match="'float16' is not available on cpu here"):
        load_encoder(path, device="cpu", precision="float16")
