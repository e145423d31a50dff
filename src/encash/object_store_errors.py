"""Translate errors of Lance and obstore, which share their client, about object stores; say how to fix them."""

from __future__ import annotations

import re

_REASONS = (
    ("NoSuchBucket", "its bucket does not exist; create the bucket, or correct its name"),
    (
        r"credentials|169\.254\.169\.254|metadata\.google\.internal",  # the addresses that a cloud gives some at
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your cloud uses",
    ),
    ("endpoint is required", "no endpoint was named; set OSS_ENDPOINT, COS_ENDPOINT or TOS_ENDPOINT"),
    ("Account must be specified|no Azure account name", "no account was named; set AZURE_STORAGE_ACCOUNT_NAME"),
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
    >>> unreachable("Generic MicrosoftAzure error: Error performing GET https://a.example/f?sig=1 in 2ms - 500")
    'the object store failed (MicrosoftAzure error: Error performing GET https://a.example/f in 2ms - 500); try again \
later'
    >>> unreachable("Invalid user input: Unable to find object store prefix: no Azure account name in URI")
    'no account was named; set AZURE_STORAGE_ACCOUNT_NAME'
    >>> unreachable("Generic LocalFileSystem error: Unable to open file")
    >>> unreachable("Dataset at path x.lance was not found")
    """
    if re.search(r"Generic (?!LocalFileSystem)\S+ error: |NoSuchBucket|^Invalid user input: ", text) is None:
        return None
    for pattern, reason in _REASONS:
        if re.search(pattern, text):
            return reason
    if "Generic " not in text:
        return None
    answer = re.sub(r"\?\S+", "", text.partition("Generic ")[2].split("\n")[0].split(", /")[0])  # it may hold a key
    return f"the object store failed ({answer}); {TRY_AGAIN}"
