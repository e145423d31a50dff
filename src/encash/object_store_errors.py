"""Translate what Lance and obstore, which share their client, report about object stores into a remedy."""

from __future__ import annotations

import re

_REASONS = (
    ("NoSuchBucket", "its bucket does not exist; create the bucket, or correct its name"),
    (
        r"credentials|169\.254\.169\.254|metadata\.google\.internal",  # the addresses that a cloud gives some at
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your cloud uses",
    ),
    ("Account must be specified", "no account was named; set AZURE_STORAGE_ACCOUNT_NAME"),
    ("40[13] ", "access was denied; check the credentials and their permissions"),
    ("builder error", "the address is plain http; use https, or set AWS_ALLOW_HTTP=true"),
    ("error sending request", "no server answers at its address; check the network and AWS_ENDPOINT_URL"),
)
TRY_AGAIN = "try again later"
"""End of a message about a failure that may pass."""


def unreachable(text: str) -> str | None:
    """Return why an object store cannot be reached and how to fix it; None if the error is not of that kind.

    >>> unreachable("LanceError(IO): Generic S3 error: Error performing GET … - HTTP error: error sending request")
    'no server answers at its address; check the network and AWS_ENDPOINT_URL'
    >>> unreachable("Generic LocalFileSystem error: Unable to open file")
    >>> unreachable("Dataset at path x.lance was not found")
    """
    if re.search(r"Generic (?!LocalFileSystem)\S+ error: |NoSuchBucket", text) is None:
        return None
    for pattern, reason in _REASONS:
        if re.search(pattern, text):
            return reason
    answer = text.partition("Generic ")[2].split("\n")[0].split(", /")[0]
    return f"the object store failed ({answer}); {TRY_AGAIN}"
