"""Why an object store did not answer as it should, in words that one can act on. Knows what Lance says of object
stores; opens no connection."""

from __future__ import annotations

import re

_REASONS = (
    ("NoSuchBucket", "its bucket does not exist; make the bucket, or correct its name"),
    (
        "credentials",
        "no credentials were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or what your cloud uses",
    ),
    ("40[13] ", "access was denied; check the credentials and what they may do there"),
    ("builder error", "the address is plain http; use https, or set AWS_ALLOW_HTTP=true"),
    ("error sending request", "nothing answers at its address; check the network and AWS_ENDPOINT_URL"),
)


def unreachable(text: str) -> str | None:
    """What keeps us from an object store, and how to mend it; None if an error of Lance says nothing of the kind.

    >>> unreachable("LanceError(IO): Generic S3 error: Error performing GET … - HTTP error: error sending request")
    'nothing answers at its address; check the network and AWS_ENDPOINT_URL'
    >>> unreachable("Dataset at path x.lance was not found")
    """
    if re.search(r"Generic \S+ error: ", text) is None:
        return None
    for sign, reason in _REASONS:
        if re.search(sign, text):
            return reason
    answer = text.partition("Generic ")[2].split("\n")[0].split(", /")[0]
    return f"the object store failed ({answer}); try again later"
