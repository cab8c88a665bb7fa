"""Signatures of requests to a store, by botocore, for crates/hub/src/store/signatures.rs.

    pip install botocore
    python benches/store_signatures.py > crates/hub/tests/signatures.json

Keys that clients get wrong: spaces, plus signs, percent signs, Chinese, quotes, two slashes, and a slash at the front.
Every case is presigned at the same second with the keys of Amazon's own documentation.
"""

import datetime
import json
import sys
from unittest import mock
from urllib.parse import parse_qs, urlsplit

import botocore.auth
from botocore.auth import S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode, percent_encode_sequence

TIME = datetime.datetime(2013, 5, 24, 0, 0, 0, tzinfo=datetime.timezone.utc)
KEYS = ("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
TOKEN = "FwoGZXIvYXdzEXAMPLE//+token=="

OBJECTS = [
    "test.txt",
    "a b/c+d.jsonl.gz",
    "中文/数据 第1部.txt",
    "100%/a%20b.txt",
    "//leading/double//slash.txt",
    "it's (a) !test*~_-.:@&=$,;?#[x]{y}|^`\"<>\\.txt",
    "a..b/...",
    "tab\tnew\nline.txt",
    "\U0001f600é.txt",
]
LISTINGS = [
    [["encoding-type", "url"], ["list-type", "2"], ["prefix", ""]],
    [["delimiter", "/"], ["encoding-type", "url"], ["list-type", "2"], ["prefix", "a b+c/中文%20/*"]],
    [["continuation-token", "1ueGcxLPRx1Tr/XYExHnhbYLgveDs2J/wm36Hy4vbOwM=&+"], ["encoding-type", "url"], ["list-type", "2"], ["prefix", "x"]],
]
PLACES = [
    ("https://s3.us-east-1.amazonaws.com", "us-east-1", True, None),
    ("http://localhost:9000", "us-east-1", False, None),
    ("https://s3.cn-north-1.amazonaws.com.cn", "cn-north-1", True, TOKEN),
    ("https://store.example/s3", "auto", False, TOKEN),
]


def presigned(method, endpoint, region, virtual, token, key, query):
    scheme, rest = endpoint.split("://")
    host, _, path = rest.partition("/")
    path = f"/{path}" if path else ""
    bucket = "examplebucket"
    base = f"{scheme}://{bucket}.{host}{path}/" if virtual else f"{scheme}://{host}{path}/{bucket}/"
    url = base + percent_encode(key or "", safe="/~")
    if query:
        url += "?" + percent_encode_sequence([tuple(pair) for pair in query])
    request = AWSRequest(method=method, url=url)
    with mock.patch.object(botocore.auth, "get_current_datetime", lambda *_, **__: TIME.replace(tzinfo=None)):
        S3SigV4QueryAuth(Credentials(*KEYS, token), "s3", region, expires=3600).add_auth(request)
    values = parse_qs(urlsplit(request.url).query)
    assert values["X-Amz-Date"] == ["20130524T000000Z"], values
    return values["X-Amz-Signature"][0]


def main():
    cases = []
    for endpoint, region, virtual, token in PLACES:
        wishes = [(method, key, []) for key in OBJECTS for method in ("GET", "HEAD")]
        wishes += [("GET", None, query) for query in LISTINGS]
        for method, key, query in wishes:
            signature = presigned(method, endpoint, region, virtual, token, key, query)
            cases.append(
                {"method": method, "endpoint": endpoint, "region": region, "virtual_host": virtual, "token": token}
                | {"key": key, "query": query, "signature": signature}
            )
    lines = ",\n".join("  " + json.dumps(case, ensure_ascii=True) for case in cases)
    sys.stdout.write(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
