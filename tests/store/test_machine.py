"""The Lance store compared with the store in memory under random operations: both have the same contents."""

import shutil
import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from encash.store import create_store, open_store
from encash.testing import MemoryStore
from encash.testing.store_contract import everything, make_entries, make_spec

DAYS = ["2023-12-29", "2024-01-02", "2024-01-03", "2024-01-04"]
TICKERS = ["A", "BRK.B", "../x", "ÆTHER"]


class TwoStores(RuleBasedStateMachine):
    """Writes, replacements, tags, compactions and readers of old versions, in any order."""

    @initialize(dtype=st.sampled_from(["float32", "float16", "int8"]))
    def begin(self, dtype):
        self.folder = tempfile.mkdtemp()
        self.spec = make_spec(dtype, 4, (1,))
        self.lance = create_store(f"{self.folder}/a.lance", self.spec)
        self.memory = MemoryStore(self.spec)
        self.tagged = {}
        self.readers = []

    @rule(
        days=st.lists(st.sampled_from(DAYS), min_size=1, unique=True),
        tickers=st.lists(st.sampled_from(TICKERS), min_size=1, unique=True),
        seed=st.integers(0, 99),
        digest=st.integers(0, 3),
        skip_valid=st.booleans(),
        anew=st.booleans(),
    )
    def write(self, days, tickers, seed, digest, skip_valid, anew):
        entries = make_entries(self.spec, days, tickers, seed=seed, digest=digest)
        writer = open_store(self.lance.location) if anew else self.lance
        writer.write(entries, skip_valid=skip_valid)
        self.memory.write(entries, skip_valid=skip_valid)
        self.lance.refresh()

    @rule()
    def tag(self):
        name = f"tag-{len(self.tagged)}"
        self.lance.tag(name)
        self.tagged[name] = everything(self.memory)

    @rule(keep=st.integers(2, 5))
    def compact(self, keep):
        self.lance.compact(keep_versions=keep)
        self.memory.compact(keep_versions=keep)
        assert len(self.lance.versions()) <= keep + len(self.tagged)

    @rule()
    def open_a_reader(self):
        reader = open_store(self.lance.location, version=self.lance.version)
        reader.snapshot().index()
        self.readers = [*self.readers, (reader, everything(self.memory))][-2:]

    @invariant()
    def both_have_the_same_entries(self):
        assert everything(self.lance, 3) == everything(self.memory)
        assert self.lance.snapshot().index().entries == self.memory.snapshot().index().entries
        keys = [key for part in self.lance.snapshot().by_day(3) for key in zip(part.days, part.tickers, strict=True)]
        assert keys == sorted(keys)

    @invariant()
    def old_readers_and_tags_still_see_theirs(self):
        for reader, seen in self.readers:
            assert everything(reader) == seen
        for name, seen in self.tagged.items():
            assert everything(open_store(self.lance.location, version=name)) == seen

    def teardown(self):
        assert self.lance.snapshot().verify().passed
        shutil.rmtree(self.folder)


TestTwoStores = TwoStores.TestCase
TestTwoStores.settings = settings(
    max_examples=12,
    stateful_step_count=12,
    database=None,
    derandomize=True,
)
