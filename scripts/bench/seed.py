#!/usr/bin/env python3
"""Fills a migrated callgate database with the keys, sessions and calls of the benchmark kit.

Usage: seed.py DATABASE SEED_DATABASE CREDENTIALS   (the kit's $DB, $SEED_DB and $CREDS)

The database has to be empty and migrated (`callgate migrate`), its pepper beside it.
"""
import hashlib
import hmac
import pathlib
import sqlite3
import sys
import uuid

TENANT = "72f988bf-86f1-41af-91ab-2d7cd011db47"
DAY = 86_400_000
NOW = 1_700_000_000_000


def main(database, seed, credentials):
    pepper = bytes.fromhex(pathlib.Path(database + ".pepper").read_text().strip())
    fingerprint = hashlib.sha256(pepper).digest()[:8].hex()

    def keyed(kind, value):
        return hmac.new(pepper, kind + str(uuid.UUID(value)).encode(), hashlib.sha256).digest()

    db = sqlite3.connect(database, isolation_level=None)
    db.execute("PRAGMA synchronous=OFF")
    db.execute("PRAGMA cache_size=-1000000")
    db.execute("ATTACH ? AS seed", (seed,))
    db.execute("BEGIN")
    db.execute("INSERT INTO tenants (tenant, tenant_id, created_at) VALUES (1, ?, ?)", (TENANT, NOW))
    rows = {}
    far = 100 * 365 * DAY + NOW
    for number, line in enumerate(pathlib.Path(credentials).read_text().split("\n")):
        if not line:
            continue
        key, token = line.split()
        if key not in rows:
            rows[key] = len(rows) + 1
            db.execute(
                "INSERT INTO keys (key, key_id, tenant, name, pepper, hash, requires_token, rights, created_at)"
                " VALUES (?, ?, 1, ?, ?, ?, 1, 'DeleteCall', ?)",
                (rows[key], str(uuid.uuid4()), f"client {rows[key]}", fingerprint, keyed(b"key:", key), NOW),
            )
        db.execute(
            "INSERT INTO sessions (session, session_id, tenant, key, pepper, hash, created_at, expires_at)"
            " VALUES (?, ?, 1, ?, ?, ?, ?, ?)",
            (number + 1, str(uuid.uuid4()), rows[key], fingerprint, keyed(b"token:", token), NOW, far),
        )
    db.execute(
        "INSERT INTO calls (call, tenant, call_id, graph_id, platform_call_id, native_id, meeting_id, direction,"
        " state, first_seen_at, last_seen_at, started_at) SELECT id, 1, call_id, graph_id, platform_call_id,"
        " native_id, meeting_id, 'incoming', 'established', start_time, start_time, start_time FROM seed.calls"
    )
    db.execute(
        "INSERT INTO parties (call, position, tenant, role, kind, raw, normalised)"
        " SELECT id, 1, 1, 'target', 'number', extension, extension FROM seed.calls"
    )
    db.execute("COMMIT")
    db.execute("ANALYZE")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


main(*sys.argv[1:])
