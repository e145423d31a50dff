"""Find phrases that must not come back into the prose: docstrings, comments, messages, help texts, templates and docs.

    python tools/check_phrases.py [--counts] [FILE|FOLDER …]

Prints ``file:line: phrase → suggestion`` by folder, then the number of hits per folder. Exits with 1 if there are any.
Names in code, text in backticks and fenced code blocks are not prose.
"""

from __future__ import annotations

import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = (
    "src",
    "docs",
    "benchmarks",
    "README.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "pyproject.toml",
)
SUFFIXES = (".py", ".md", ".j2", ".toml")

SUGGESTIONS = {
    r"(?<!\bthere )\b(?:is|are|was|were) no\b(?! (?:longer|more|less|\w+er)\b)": "negate the adjective: invalid …",
    r"\b(?:that|which) (?:is|are) none\b": "invalid, malformed",
    r"\bnobody\b": "None, not recorded, not …",
    r"\beverybody\b": "all, each …",
    r"\bwhoever\b": "the caller",
    r"\bso many\b": "N",
    r"\b(?:is|are|was|were|be) told\b|\btold \(": "is called with, receives",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\balone(?=[.,;:)]|$)": "only",
    r"\bKnows (?:no|nothing|the|a|an|of|how|what|neither)\b": "leave it out: the import contracts prove it",
    r"\b(?:lie|lies|lay) behind\b": "is after",
    r"\bin the middle\b": "median, halfway, within",
    r"\brooms?\b": "package, module",
    r"\bfloors\b": "layers",
    r"\bheavy guests?\b": "heavy dependency",
    r"\bseams?\b": "interface",
    r"\bfor ever\b": "forever",
    r"\bas asked\b": "as requested",
    r"\bwhere there (?:is|are)\b": "if there is",
    r"\bfrom here on\b": "from now on",
    r"\bat hand\b": "available",
    r"\bforetold\b": "predicted",
    r"[\d}] %(?![\w(}])": "a percent sign follows the number without a space",
    r"\b\w*(?:normal|initial|serial|standard|optim|summar|recogn|organ|annual)is(?:e|es|ed|ing|ation)\b": "-ize",
    r"\b(?:un)?(?:colour|behaviour|neighbour|favour|honour)\w*\b": "-or",
    r"\b(?:centre[sd]?|grey|spelt|whilst|amongst|analys(?:e|ed|ing)|(?:label|model)led|licence)\b": "American spelling",
}  # fmt: skip
"""A regular expression → what to write instead."""
PHRASES = [(re.compile(pattern, re.IGNORECASE), suggestion) for pattern, suggestion in SUGGESTIONS.items()]
QUESTION = re.compile(r'^[rbf]*"""(?:What|Who|Whether|Where)\b')
"""The beginning of a docstring that is neither an imperative nor a noun phrase."""
CODE_SPAN = re.compile(r"(`+)(?:(?!\1).)+\1")

Line = tuple[int, str]


def python_prose(text: str) -> Iterator[Line]:
    """Yield the lines of comments and strings; a string without a space is a name, not prose."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        prose = token.type in (tokenize.COMMENT, tokenize.STRING) or token.type == getattr(
            tokenize, "FSTRING_MIDDLE", -1
        )
        if prose and " " in token.string:
            for offset, line in enumerate(token.string.split("\n")):
                yield token.start[0] + offset, line


def document_prose(text: str) -> Iterator[Line]:
    """Yield the lines of a document that are not in a fenced code block."""
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif not fenced:
            yield number, line


def hits(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield line, phrase and suggestion for each hit in a file."""
    text = path.read_text(encoding="utf-8")
    for number, line in python_prose(text) if path.suffix == ".py" else document_prose(text):
        prose = CODE_SPAN.sub("``", line)
        for pattern, suggestion in PHRASES:
            for found in pattern.finditer(prose.rstrip("\"' ")):
                yield number, found[0], suggestion
        if path.suffix == ".py" and (question := QUESTION.match(line)):
            yield number, question[0], "begin with an imperative verb or a noun phrase"


def files(names: list[str]) -> Iterator[Path]:
    """Yield the files to check, in order."""
    for name in names:
        path = ROOT / name
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in found if file.suffix in SUFFIXES and file.is_file())


def main(arguments: list[str]) -> int:
    """Print the hits by folder and their counts."""
    by_folder: dict[str, list[str]] = defaultdict(list)
    for path in files([name for name in arguments if name != "--counts"] or list(DEFAULT)):
        name = path.relative_to(ROOT)
        for number, phrase, suggestion in hits(path):
            by_folder[str(name.parent)].append(f"{name}:{number}: {phrase.strip()!r} → {suggestion}")
    if "--counts" not in arguments:
        for lines in by_folder.values():
            print("\n".join(lines), end="\n\n")
    for folder, lines in by_folder.items():
        print(f"{len(lines):>5}  {folder}")
    total = sum(map(len, by_folder.values()))
    print(f"{total:>5}  phrases to rewrite" if total else "phrases: none to rewrite")
    return int(total > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
