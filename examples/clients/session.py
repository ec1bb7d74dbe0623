#!/usr/bin/env python3
"""Deletes calls in a session: Python's standard library only.

    python3 session.py http://127.0.0.1:8080/verba/api KEY LOGIN

Reads the password from the first line of its input (from a terminal it asks for it), then one
deletion from each further line, such as `extension=8856 status=ongoing`. It logs in once, logs in
again when the gateway says that the token has expired, releases the token at the end, and prints
each step. Exit code 0: every deletion was answered 0; 1: one was not, or nobody was logged in.
"""

import argparse
import base64
import getpass
import shlex
import sys
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree as ElementTree

INVALID_CREDENTIALS = -40
TOKEN_EXPIRED = -43


class Refused(Exception):
    """An answer with another code than 0."""

    def __init__(self, code, message):
        super().__init__(f"code {code} {message}".strip())
        self.code = code


class Session:
    """One key and one user. The token is asked for when it is first needed."""

    def __init__(self, url, key, login, password, query_password=True):
        self.url, self.key, self.login, self.password = url, key, login, password
        self.query_password = query_password
        self.token = None

    def delete(self, parameters):
        """Deletes one call. Raises Refused when the answer is not 0."""
        if self.token is None:
            self.log_in()
        try:
            self.call("DeleteCall", token=self.token, **parameters)
        except Refused as refused:
            if refused.code != TOKEN_EXPIRED:
                raise
            # The hour is over, or somebody has ended the session. Once: if the new token is not
            # accepted either, another one would not be.
            print(f"{refused}: logging in again", flush=True)
            self.log_in()
            self.call("DeleteCall", token=self.token, **parameters)

    def log_in(self):
        """Gets a token. Raises Refused when login and password are not accepted."""
        try:
            response = self.call("RequestToken", basic=True)
            print("logged in with Basic", flush=True)
        except Refused as refused:
            if refused.code != INVALID_CREDENTIALS or not self.query_password:
                raise
            # Something on the way may have taken the header away. The price: a password in a query
            # string, which proxies log. Turn it off where Basic is known to arrive.
            print(f"{refused}: trying userName and password", flush=True)
            response = self.call("RequestToken", userName=self.login, password=self.password)
            print("logged in with userName and password", flush=True)
        self.token = response.get("token")

    def release(self):
        """Ends the session, so that its token is of no use to anybody."""
        if self.token is not None:
            self.call("ReleaseToken", token=self.token)
            self.token = None
            print("token released", flush=True)

    def call(self, action, basic=False, **parameters):
        """The Response element of an answer with code 0. Raises Refused for any other."""
        query = urllib.parse.urlencode({"action": action, "apiKey": self.key, **parameters})
        request = urllib.request.Request(f"{self.url}?{query}")
        if basic:
            credentials = base64.b64encode(f"{self.login}:{self.password}".encode())
            request.add_header("Authorization", f"Basic {credentials.decode()}")
        try:
            # The gateway answers within 10 s, also when Graph does not.
            with urllib.request.urlopen(request, timeout=30) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            # Nothing was decided, but the body says why: 503 while the gateway is overloaded or
            # there were too many attempts to log in. `Retry-After` says how long to wait.
            body = error.read()
        response = ElementTree.fromstring(body).find(".//Response")
        code = int(response.get("code"))
        if code != 0:
            raise Refused(code, response.findtext("ErrorMessage", ""))
        return response


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("url")
    parser.add_argument("key")
    parser.add_argument("login")
    parser.add_argument(
        "--no-query-password", action="store_true", help="never send the password in the query"
    )
    options = parser.parse_args()
    if sys.stdin.isatty():
        password = getpass.getpass("Password: ")
    else:
        password = sys.stdin.readline().rstrip("\n")
    session = Session(
        options.url, options.key, options.login, password, not options.no_query_password
    )
    result = 0
    try:
        for line in sys.stdin:
            parameters = dict(pair.split("=", 1) for pair in shlex.split(line))
            try:
                session.delete(parameters)
                print("code 0", flush=True)
            except Refused as refused:
                print(refused, flush=True)
                result = 1
        session.release()
    except Refused as refused:
        print(refused, flush=True)
        result = 1
    return result


if __name__ == "__main__":
    sys.exit(main())
