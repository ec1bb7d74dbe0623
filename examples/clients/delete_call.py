#!/usr/bin/env python3
"""Deletes a call: Python's standard library only.

    python3 delete_call.py http://127.0.0.1:8080/verba/api KEY extension=8856 status=ongoing

Prints the code and, of an error, its message. Exit code 0: deleted, or certain to be; 1: refused.
"""

import sys
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree


def delete_call(url, key, parameters):
    """The code of the answer, and the message of an error. 0 means done."""
    query = urllib.parse.urlencode({"action": "DeleteCall", "apiKey": key, **parameters})
    # The gateway answers within 10 s, also when Graph does not: the deletion is then recorded.
    with urllib.request.urlopen(f"{url}?{query}", timeout=30) as answer:
        document = ElementTree.fromstring(answer.read())
    # Below the root, wherever it is: the root's name has changed in the life of this API.
    response = document.find(".//Response")
    return int(response.get("code")), response.findtext("ErrorMessage", "")


def main():
    if len(sys.argv) < 4:
        sys.exit(f"usage: {sys.argv[0]} URL KEY NAME=VALUE...")
    url, key, *pairs = sys.argv[1:]
    code, message = delete_call(url, key, dict(pair.split("=", 1) for pair in pairs))
    print(f"code {code}", message)
    return 0 if code == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
